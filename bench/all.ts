import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { readArguments, UsageError, wholeNumber } from '../src/cli/arguments';
import { nodeGpu } from '../src/cli/node-gpu';
import { openDevice, type Gpu } from '../src/runtime/device';
import { benchMatmul } from './matmul';
import { jaxPeer } from './peers';
import { benchStep, printStep, type StepShape } from './step';
import { SMOLLM2_135M, STORIES_260K } from './synthetic-model';

const STEPS: readonly StepShape[] = [
  { name: 'stories260K', config: STORIES_260K, type: 'F32', rows: 4, tokens: 64, rank: 8 },
  { name: 'SmolLM2-135M', config: SMOLLM2_135M, type: 'Q4_1', rows: 1, tokens: 128, rank: 8 },
  { name: 'SmolLM2-135M', config: SMOLLM2_135M, type: 'F32', rows: 1, tokens: 128, rank: 8 },
  { name: 'SmolLM2-135M, memory', config: SMOLLM2_135M, type: 'Q4_1', rows: 1, tokens: 512, rank: 16 },
];

const PARTS = ['matmul', 'step'] as const;

/** `hone bench`: this device's measured limits, the products of a step beside a peer's, and whole LoRA steps. */
export async function bench(args: string[]): Promise<void> {
  const { values } = readArguments(
    args,
    { rounds: { type: 'string' }, only: { type: 'string' }, 'no-peer': { type: 'boolean' } },
    { least: 0, most: 0, names: '' },
  );
  const rounds = wholeNumber(values.rounds, 'rounds', 3, 1);
  const wanted = PARTS.filter((part) => values.only === undefined || values.only === part);
  if (wanted.length === 0) throw new UsageError(`--only is "${values.only}"; give ${PARTS.join(' or ')}.`);
  const webgpu = await nodeGpu();
  const gpu = await openDevice(webgpu);
  const { vendor, architecture, description } = gpu.info;
  console.log(`Device: ${[vendor, architecture, description].filter(Boolean).join(' ')}`);
  if (wanted.includes('matmul')) {
    const peers = join(fileURLToPath(new URL('../..', import.meta.url)), 'bench/peers');
    const peer = values['no-peer'] ? null : await jaxPeer(webgpu, peers);
    await benchMatmul(gpu, peer, { rounds, print: (line) => console.log(line) });
  }
  if (wanted.includes('step')) await benchSteps(gpu, rounds);
  process.exit(0);
}

async function benchSteps(gpu: Gpu, rounds: number): Promise<void> {
  for (const shape of STEPS) printStep(shape, await benchStep(gpu, shape, rounds));
}
