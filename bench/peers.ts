import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** A library that multiplies matrices beside us. `nt` is a·bᵀ, `nn` a·b; both only enqueue, `done` awaits their result. */
export interface MatmulPeer {
  name: string;
  matrix: (values: Float32Array, rows: number, columns: number) => PeerMatrix;
  nt: (a: PeerMatrix, b: PeerMatrix) => PeerMatrix;
  nn: (a: PeerMatrix, b: PeerMatrix) => PeerMatrix;
  done: (result: PeerMatrix) => Promise<void>;
  read: (result: PeerMatrix) => Promise<Float32Array>;
  free: (result: PeerMatrix) => void;
}

/** A matrix on the peer's own device. */
export type PeerMatrix = object;

/** jax-js on `gpu`, installed into its own folder on first use. Throws where it cannot be installed or finds no WebGPU. */
export async function jaxPeer(gpu: GPU, peersFolder: string): Promise<MatmulPeer> {
  if (!existsSync(join(peersFolder, 'node_modules/@jax-js/jax'))) {
    execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: peersFolder, stdio: 'ignore' });
  }
  const path = pathToFileURL(join(peersFolder, 'jax.mjs')).href;
  const module = (await import(/* @vite-ignore */ path)) as { jaxPeer: (gpu: GPU) => Promise<MatmulPeer> };
  return module.jaxPeer(gpu);
}
