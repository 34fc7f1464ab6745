import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loraRank, magnitudeName, type Adapter } from '../../src/core/adapter';
import { makeMicroBatch } from '../../src/core/batch';
import { dequantize } from '../../src/core/blocks';
import type { Example } from '../../src/core/example';
import type { ModelConfig } from '../../src/core/model';
import { Random } from '../../src/core/random';
import { Inference } from '../../src/models/inference';
import { FrozenWeights } from '../../src/models/weights';
import { openDevice, traitsOf, type Gpu } from '../../src/runtime/device';
import { MemoryLedger } from '../../src/runtime/memory';
import { loraConfig, parseRecipe, type RecipeInput } from '../../src/training/recipe';
import { TrainingSession } from '../../src/training/session';
import { freshAdapter } from '../../src/training/starting-adapter';
import { adapterOf } from '../../src/training/trained';
import { FAMILY_CONFIGS, randomAdapter, randomModel } from '../fixtures';
import { nodeGpu } from '../gpu';
import { largestDifference, referenceLogits } from '../reference/decoder';

/** Qwen 2, for its biases: DoRA scales the rows of a weight and leaves what is added alone. */
const config: ModelConfig = { ...FAMILY_CONFIGS.find(({ model_type }) => model_type === 'qwen2')!, num_hidden_layers: 2 };
const model = randomModel(config);
const random = new Random(3);
const examples: Example[] = [7, 12].map((length, row) => {
  const input_ids = Int32Array.from({ length }, () => random.below(config.vocab_size));
  return { row: row + 1, input_ids, labels: input_ids };
});
const batch = makeMicroBatch(examples, 64);

type LoraInput = NonNullable<RecipeInput['lora']>;
const recipeOf = (lora: LoraInput) => parseRecipe({ model: 'random', dataset: { path: 'made up' }, lora, training: { packing: false, seed: 4 } });

/** Mean loss in f64. */
async function referenceLoss(adapter?: Adapter, normsOf?: Adapter): Promise<number> {
  let sum = 0;
  let count = 0;
  for (const { input_ids, labels } of examples) {
    const logits = await referenceLogits(model, [...input_ids], adapter, normsOf ?? adapter);
    for (let t = 1; t < labels.length; t++) {
      const row = logits[t - 1]!;
      const largest = Math.max(...row);
      sum += largest + Math.log(row.reduce((total, x) => total + Math.exp(x - largest), 0)) - row[labels[t]!]!;
      count++;
    }
  }
  return sum / count;
}

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

describe('LoRA variants in training', () => {
  let gpu: Gpu;
  let frozen: FrozenWeights;
  const memory = new MemoryLedger();
  beforeAll(async () => {
    gpu = await openDevice(await nodeGpu());
    frozen = new FrozenWeights(model, traitsOf(gpu).maxStorageBufferBindingSize, memory);
    memory.allocate(gpu);
    await frozen.upload(gpu);
  });
  afterAll(() => gpu.device.destroy());

  async function session(lora: LoraInput): Promise<TrainingSession> {
    const recipe = recipeOf(lora);
    const spec = { config, frozen: frozen.weights, lora: loraConfig(recipe.lora!, config), training: recipe.training, maxTokens: batch.ids.length, maxPositions: 12 };
    const made = new TrainingSession(spec, traitsOf(gpu));
    await made.allocate(gpu);
    return made;
  }

  /** Compares the engine's gradient of every tensor with the f64 loss's slope along a direction. */
  async function expectSlopes(made: TrainingSession, adapter: Adapter): Promise<void> {
    await made.uploadAdapter(adapter);
    await made.accumulate([batch], 0, 1 / batch.trained);
    const gradients = await made.parameters.downloadGradients(gpu);
    const values = await made.parameters.download(gpu);
    for (const [seed, [name, { shape, data }]] of [...values].entries()) {
      const draw = new Random(seed);
      const raw = data.map(() => draw.normal());
      const along = raw.map((x) => x / Math.sqrt(dot(raw, raw)));
      const at = async (step: number): Promise<number> => {
        const moved = new Map(values).set(name, { shape, data: data.map((x, i) => x + step * along[i]!) });
        return referenceLoss(adapterOf(moved, adapter.config), adapter);
      };
      const h = 2e-3;
      const expected = ((await at(-2 * h)) - 8 * (await at(-h)) + 8 * (await at(h)) - (await at(2 * h))) / (12 * h);
      const gradient = gradients.get(name)!.data;
      // The moved values are stored in f32: 6e-8 of them (magnitudes are about 1.5) over a step of 2e-3.
      expect(Math.abs(dot(gradient, along) - expected), name).toBeLessThan(1e-3 * Math.sqrt(dot(gradient, gradient)) + 3e-5);
    }
  }

  it('DoRA begins as the base, with the lengths of the rows as magnitudes', async () => {
    const lora = { r: 3, use_dora: true, target_modules: ['q_proj', 'down_proj'] };
    const made = await session(lora);
    await made.uploadAdapter(freshAdapter(recipeOf(lora).lora!, config, 4));
    // f32 through two layers, of losses about 8.
    expect(Math.abs((await made.evaluate([batch])).loss - (await referenceLoss()))).toBeLessThan(1e-4);
    const path = 'model.layers.1.mlp.down_proj';
    const magnitude = (await made.parameters.download(gpu)).get(magnitudeName(path))!.data;
    const weight = dequantize('F32', await model.tensors.get(`${path}.weight`)!.readRows(0, 64));
    magnitude.forEach((m, row) => {
      const values = weight.subarray(row * 96, (row + 1) * 96);
      expect(Math.abs(m / Math.sqrt(dot(values, values)) - 1)).toBeLessThan(1e-6);
    });
    made.destroy();
  });

  it("DoRA has the slopes of the reference's loss, norms held still, in every A, B and magnitude", async () => {
    const lora = { r: 3, lora_alpha: 8, use_dora: true };
    const made = await session(lora);
    const adapter = randomAdapter(config, { r: 3, use_dora: true });
    await expectSlopes(made, adapter);
    // Held still by the reference alone: with norms that follow the adapter the slopes are others.
    const moved = randomAdapter(config, { r: 3, use_dora: true, seed: 9 });
    expect(Math.abs((await referenceLoss(adapter)) - (await referenceLoss(adapter, moved)))).toBeGreaterThan(1e-3);
    made.destroy();
  });

  it('after a step DoRA divides by the norms of the new rows, in evaluation and in answers', async () => {
    const made = await session({ r: 3, lora_alpha: 8, use_dora: true });
    const start = randomAdapter(config, { r: 3, use_dora: true });
    await made.uploadAdapter(start);
    const answers = new Inference(config, made.weights, made.lora, traitsOf(gpu), 7);
    await answers.allocate(gpu);
    await made.step([batch], 0, 0.05);
    const trained = adapterOf(await made.parameters.download(gpu), start.config);
    await made.settle();
    const ids = [...examples[0]!.input_ids];
    expect(largestDifference(await answers.allLogits(ids), await referenceLogits(model, ids, trained))).toBeLessThan(2e-4);
    answers.destroy();
    const loss = await referenceLoss(trained);
    expect(Math.abs((await made.evaluate([batch])).loss - loss)).toBeLessThan(1e-4);
    expect(Math.abs((await referenceLoss(trained, start)) - loss)).toBeGreaterThan(1e-2);
    made.destroy();
  });

  it('ranks and alphas by pattern, with rsLoRA, have the slopes of the reference', async () => {
    const lora = { r: 3, lora_alpha: 8, use_rslora: true, rank_pattern: { 'layers.1.*_proj': 1, up_proj: 4 }, alpha_pattern: { o_proj: 2 } };
    const made = await session(lora);
    const adapter = randomAdapter(config, lora);
    expect(loraRank(adapter.config, 'model.layers.0.mlp.up_proj')).toBe(4);
    await expectSlopes(made, adapter);
    made.destroy();
  });

  it.each([false, true])('with dropout a resumed run repeats to the bit, and each step draws another mask (DoRA: %s)', async (use_dora) => {
    const lora = { r: 3, lora_alpha: 8, use_dora, lora_dropout: 0.4, target_modules: ['v_proj', 'up_proj'] };
    const made = await session(lora);
    const adapter = randomAdapter(config, { r: 3, use_dora, target_modules: lora.target_modules });
    await made.uploadAdapter(adapter);
    const first = await made.step([batch], 0, 0.01);
    const saved = await made.parameters.save(gpu);
    const losses = [await made.step([batch], 1, 0.01), await made.step([batch], 2, 0.01)];
    const end = await made.parameters.save(gpu);
    made.destroy();

    const resumed = await session(lora);
    resumed.parameters.restore(gpu, saved);
    expect([await resumed.step([batch], 1, 0.01), await resumed.step([batch], 2, 0.01)]).toEqual(losses);
    expect(await resumed.parameters.save(gpu)).toEqual(end);
    resumed.parameters.restore(gpu, saved);
    const repeated = await resumed.step([batch], 5, 0.01);
    expect(repeated.gradNorm).not.toBe(losses[0]!.gradNorm);
    // Evaluation sees no mask.
    resumed.parameters.restore(gpu, saved);
    const { loss } = await resumed.evaluate([batch]);
    expect(Math.abs(loss - (await referenceLoss(adapterOf(resumed.parameters.named(saved), adapter.config))))).toBeLessThan(1e-4);
    expect(Math.abs(loss - first.loss)).toBeGreaterThan(1e-3);
    resumed.destroy();
  });
});
