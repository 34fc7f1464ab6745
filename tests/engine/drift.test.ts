import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeMicroBatch } from '../../src/core/batch';
import { StoppedError } from '../../src/core/errors';
import type { Example } from '../../src/core/example';
import { Random } from '../../src/core/random';
import { quantizedModel } from '../../src/formats/quantized';
import { layerwiseLogits } from '../../src/models/layerwise';
import { openDevice, type Gpu } from '../../src/runtime/device';
import { measureDrift } from '../../src/training/drift';
import { FAMILY_CONFIGS, randomModel } from '../fixtures';
import { nodeGpu } from '../gpu';
import { meanKl, referenceLogits } from '../reference/decoder';

const gemma3 = FAMILY_CONFIGS.find(({ model_type }) => model_type === 'gemma3_text')!;
const original = randomModel(gemma3);
const random = new Random(8);
const examples = [9, 14].map((length, row): Example => {
  const input_ids = Int32Array.from({ length }, () => random.below(gemma3.vocab_size));
  return { row: row + 1, input_ids, labels: input_ids.map((id, t) => (t < 4 ? -100 : id)) };
});

describe('a base quantised while it is read', () => {
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await openDevice(await nodeGpu());
  });
  afterAll(() => gpu.device.destroy());

  it('keeps its vectors, has 8 bits in the embedding and the chosen type elsewhere', () => {
    const types = [...quantizedModel(original, 'Q4_0').tensors.values()].map(({ name, type }) => `${name.split('.').slice(-2)[0]} ${type}`);
    expect(new Set(types.filter((type) => /norm/.test(type)).map((type) => type.split(' ')[1]))).toEqual(new Set(['F32']));
    expect(types).toContain('embed_tokens Q8_0');
    expect(types).toContain('q_proj Q4_0');
  });

  it('runs one layer at a time to the logits of the reference, examples apart', async () => {
    const batch = makeMicroBatch(examples, 64);
    const logits = await layerwiseLogits(gpu, original, batch, [3, 8, 20]);
    const V = gemma3.vocab_size;
    const first = await referenceLogits(original, [...examples[0]!.input_ids]);
    const second = await referenceLogits(original, [...examples[1]!.input_ids]);
    [first[3]!, first[8]!, second[20 - 9]!].forEach((row, i) => {
      // f32 sums over seven layers of logits about 5 in size.
      row.forEach((value, j) => expect(Math.abs(logits[i * V + j]! - value)).toBeLessThan(2e-4));
    });
  });

  it('drifts by what the references of both say, more with 4 bits than with 8', async () => {
    const drifts = [];
    for (const type of ['Q8_0', 'Q4_0'] as const) {
      const quantised = quantizedModel(original, type);
      const found = await measureDrift(gpu, { original, quantised }, examples, 64);
      const pairs = [];
      for (const { input_ids, labels } of examples) {
        const [p, q] = [await referenceLogits(original, [...input_ids]), await referenceLogits(quantised, [...input_ids])];
        for (let t = 1; t < labels.length; t++) if (labels[t] !== -100) pairs.push([p[t - 1]!, q[t - 1]!] as const);
      }
      const expected = meanKl(pairs.map(([p]) => p), pairs.map(([, q]) => q));
      expect(found.tokens).toBe(pairs.length);
      // KL is of second order in the logits' f32 errors of 1e-4; the rest is relative rounding.
      expect(Math.abs(found.kl - expected)).toBeLessThan(1e-3 * expected + 1e-7);
      drifts.push(found.kl);
    }
    expect(drifts[1]).toBeGreaterThan(10 * drifts[0]!);
  });

  it('is stopped between layers by whoever hears of them, and leaves no memory behind', async () => {
    const held = gpu.memory.allocated;
    const heard: number[] = [];
    const measuring = measureDrift(gpu, { original, quantised: quantizedModel(original, 'Q4_0') }, examples, 64, ({ done }) => {
      heard.push(done);
      if (done === 2) throw new StoppedError('stopped');
    });
    await expect(measuring).rejects.toThrow(StoppedError);
    expect(heard).toEqual([1, 2]);
    expect(gpu.memory.allocated).toBe(held);
  });
});
