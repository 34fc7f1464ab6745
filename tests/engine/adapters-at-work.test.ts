import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Adapter } from '../../src/core/adapter';
import { dequantize } from '../../src/core/blocks';
import type { ModelSource, StoredTensor } from '../../src/core/model';
import { mergerOf } from '../../src/exports/merge';
import { mergeAdapters } from '../../src/exports/merge-adapters';
import { answeringBytes, AnsweringModel, type Answerer } from '../../src/models/answering';
import { openDevice, traitsOf, type Gpu } from '../../src/runtime/device';
import { TINY, randomAdapter, randomModel } from '../fixtures';
import { nodeGpu } from '../gpu';
import { largestDifference, referenceLogits } from '../reference/decoder';

const config = { ...TINY, num_hidden_layers: 2 };
const model = randomModel(config);
const IDS = [1, 9, 20, 57, 94, 131, 8];
const plain = randomAdapter(config, { r: 5 });
const narrow = randomAdapter(config, { r: 2, seed: 7, target_modules: ['q_proj', 'up_proj'], use_rslora: true });
const dora = randomAdapter(config, { r: 3, seed: 8, target_modules: ['up_proj', 'down_proj'], use_dora: true });

/** The base with every weight W + Σ strength · (W' - W), W' as an adapter alone would make it: f64 arithmetic rounded to f32 at the end. */
function changed(parts: readonly [Adapter, number][]): ModelSource {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, tensor] of model.tensors) {
    const path = name.replace(/\.weight$/, '');
    const columns = tensor.shape.at(-1)!;
    const readRows = async (first: number, count: number): Promise<Uint8Array> => {
      const base = dequantize('F32', await tensor.readRows(first, count));
      const sum = Float64Array.from(base);
      for (const [adapter, strength] of parts) {
        const rows = base.slice();
        mergerOf(adapter, path)?.(rows, first, columns);
        rows.forEach((value, i) => (sum[i]! += strength * (value - base[i]!)));
      }
      return new Uint8Array(Float32Array.from(sum).buffer);
    };
    tensors.set(name, { ...tensor, readRows });
  }
  return { ...model, tensors };
}

describe('adapters at work over one base', () => {
  let gpu: Gpu;
  let answering: AnsweringModel;
  beforeAll(async () => {
    gpu = await openDevice(await nodeGpu());
    answering = await AnsweringModel.load(gpu, model);
  });
  afterAll(() => {
    answering.destroy();
    gpu.device.destroy();
  });

  const logits = ({ inference }: Answerer): Promise<Float32Array[]> => inference.allLogits(IDS);
  // f32 through two layers, logits of about 5; merged weights were rounded to f32 once.
  const TOLERANCE = 2e-4;

  it('a LoRA and a DoRA alone give the logits of the f64 reference', async () => {
    for (const adapter of [plain, dora]) {
      const answerer = await answering.answerer([{ adapter, strength: 1 }], IDS.length);
      expect(largestDifference(await logits(answerer), await referenceLogits(model, IDS, adapter))).toBeLessThan(TOLERANCE);
      answerer.destroy();
    }
    expect(largestDifference(await referenceLogits(model, IDS, dora), await referenceLogits(model, IDS))).toBeGreaterThan(0.1);
  });

  it('take the memory that was foretold without a GPU, to the byte', async () => {
    const before = gpu.memory.allocated;
    const second = await AnsweringModel.load(gpu, model);
    for (const adapters of [[], [plain, narrow]]) await second.answerer(adapters.map((adapter) => ({ adapter, strength: 1 })), 64);
    expect(gpu.memory.allocated - before).toBe(answeringBytes(model, traitsOf(gpu), [[], [plain, narrow]], 64));
    second.destroy();
    expect(gpu.memory.allocated).toBe(before);
  });

  it('several act together as the sum of their changes, each times its strength, and nothing is compiled or allocated to change one', async () => {
    const answerer = await answering.answerer([{ adapter: plain, strength: 1 }, { adapter: narrow, strength: 0.5 }, { adapter: dora, strength: 1 }], IDS.length);
    expect(largestDifference(await logits(answerer), await referenceLogits(changed([[plain, 1], [narrow, 0.5], [dora, 1]]), IDS))).toBeLessThan(TOLERANCE);
    const before = [gpu.pipelines.size, gpu.memory.allocated];
    for (const [a, b, c] of [[0, 1.5, 0.25], [-0.5, 0, 0]] as const) {
      answerer.setStrengths([a, b, c]);
      const expected = await referenceLogits(changed([[plain, a], [narrow, b], [dora, c]]), IDS);
      expect(largestDifference(await logits(answerer), expected)).toBeLessThan(TOLERANCE);
    }
    expect([gpu.pipelines.size, gpu.memory.allocated]).toEqual(before);
    answerer.destroy();
  });

  it('switched off they leave the base to the bit, and switched on again they are what they were', async () => {
    const base = await answering.answerer([], IDS.length);
    const answerer = await answering.answerer([{ adapter: plain, strength: 1 }, { adapter: dora, strength: 0.5 }], IDS.length);
    const on = await logits(answerer);
    answerer.setStrengths([0, 0]);
    expect(await logits(answerer)).toEqual(await logits(base));
    answerer.setStrengths([1, 0.5]);
    expect(await logits(answerer)).toEqual(on);
    expect(largestDifference(on, await logits(base))).toBeGreaterThan(0.1);
    for (const one of [base, answerer]) one.destroy();
  });

  it('another adapter of the same ranks compiles nothing, and all that was taken is given back', async () => {
    const allocated = gpu.memory.allocated;
    const first = await answering.answerer([{ adapter: plain, strength: 1 }], IDS.length);
    const kernels = gpu.pipelines.size;
    const second = await answering.answerer([{ adapter: randomAdapter(config, { r: 5, seed: 11 }), strength: 1 }], IDS.length);
    expect(gpu.pipelines.size).toBe(kernels);
    expect(largestDifference(await logits(first), await logits(second))).toBeGreaterThan(0.1);
    first.destroy();
    second.destroy();
    expect(gpu.memory.allocated).toBe(allocated);
  });

  it('adapters merged by weights answer as they do side by side', async () => {
    const merged = mergeAdapters([{ name: 'a', adapter: plain, weight: 0.7 }, { name: 'b', adapter: narrow, weight: -0.3 }]);
    const answerer = await answering.answerer([{ adapter: merged, strength: 1 }], IDS.length);
    expect(largestDifference(await logits(answerer), await referenceLogits(changed([[plain, 0.7], [narrow, -0.3]]), IDS))).toBeLessThan(TOLERANCE);
    answerer.destroy();
  });

  it('one for another model is refused, with nothing left behind', async () => {
    const allocated = gpu.memory.allocated;
    const deeper = randomAdapter({ ...config, num_hidden_layers: 3 }, { r: 5 });
    await expect(answering.answerer([{ adapter: deeper, strength: 1 }], IDS.length)).rejects.toThrow('made for another model');
    expect(gpu.memory.allocated).toBe(allocated);
  });
});
