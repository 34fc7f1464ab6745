#!/usr/bin/env node
/** node bench/matmul.mjs [--rounds=5] [--no-peer]: matrix products of a SmolLM2-135M step beside jax-js, and the device's limits. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const rounds = Number(process.argv.find((argument) => argument.startsWith('--rounds='))?.slice(9) ?? 5);
const server = await createServer({
  root,
  configFile: false,
  server: { middlewareMode: true, hmr: false, ws: false, watch: null },
  appType: 'custom',
  optimizeDeps: { noDiscovery: true, include: [] },
  logLevel: 'error',
});
const { nodeGpu } = await server.ssrLoadModule('/src/cli/node-gpu.ts');
const { openDevice } = await server.ssrLoadModule('/src/runtime/device.ts');
const { benchMatmul } = await server.ssrLoadModule('/bench/matmul.ts');
const { jaxPeer } = await server.ssrLoadModule('/bench/peers.ts');
const webgpu = await nodeGpu();
const peer = process.argv.includes('--no-peer') ? null : await jaxPeer(webgpu, join(root, 'bench/peers'));
await benchMatmul(await openDevice(webgpu), peer, { rounds, print: (line) => console.log(line) });
await server.close();
process.exit(0);
