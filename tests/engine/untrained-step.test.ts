import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeMicroBatch } from '../../src/core/batch';
import { FrozenWeights } from '../../src/models/weights';
import { openDevice, traitsOf, type Gpu } from '../../src/runtime/device';
import { MemoryLedger } from '../../src/runtime/memory';
import { parseRecipe } from '../../src/training/recipe';
import { TrainingSession } from '../../src/training/session';
import { TINY, randomAdapter, randomModel } from '../fixtures';
import { nodeGpu } from '../gpu';

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openDevice(await nodeGpu());
});
afterAll(() => gpu.device.destroy());

it('a step whose rows have nothing to learn has no loss and no gradient, and the next is as if it were the first', async () => {
  const memory = new MemoryLedger();
  const frozen = new FrozenWeights(randomModel(TINY), traitsOf(gpu).maxStorageBufferBindingSize, memory);
  memory.allocate(gpu);
  await frozen.upload(gpu);
  const adapter = randomAdapter(TINY);
  const { training } = parseRecipe({ model: 'random', dataset: { path: 'made up' }, training: { weight_decay: 0, packing: false } });
  const input_ids = Int32Array.of(5, 9, 12, 7);
  const [empty, full] = [new Int32Array(4).fill(-100), input_ids].map((labels) => makeMicroBatch([{ row: 1, input_ids, labels }], 8)) as [ReturnType<typeof makeMicroBatch>, ReturnType<typeof makeMicroBatch>];
  const session = new TrainingSession({ config: TINY, frozen: frozen.weights, lora: adapter.config, training, maxTokens: 4, maxPositions: 4 }, traitsOf(gpu));
  await session.allocate(gpu);
  await session.uploadAdapter(adapter);
  expect(await session.step([empty], 0, 1e-3)).toEqual({ loss: 0, gradNorm: 0 });
  const after = await session.step([full], 1, 1e-3);
  expect(after.loss).toBeGreaterThan(1);
  await session.uploadAdapter(adapter);
  expect((await session.step([full], 2, 0)).loss).toBe(after.loss);
  session.destroy();
  memory.destroy(gpu);
});
