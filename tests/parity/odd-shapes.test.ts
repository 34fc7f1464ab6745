import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Adapter } from '../../src/core/adapter';
import { makeMicroBatch } from '../../src/core/batch';
import type { Example } from '../../src/core/example';
import { PLAIN_ATTENTION, type ModelConfig, type ModelSource, type StoredTensor } from '../../src/core/model';
import { Random } from '../../src/core/random';
import { Inference } from '../../src/models/inference';
import { FrozenWeights, uploadTrained } from '../../src/models/weights';
import { openDevice, traitsOf, type Gpu } from '../../src/runtime/device';
import { MemoryLedger } from '../../src/runtime/memory';
import { loraConfig, parseRecipe } from '../../src/training/recipe';
import { TrainingSession } from '../../src/training/session';
import { FAMILY_CONFIGS, familyName, randomAdapter, randomModel } from '../fixtures';
import { nodeGpu } from '../gpu';
import { referenceLogits } from '../reference/decoder';

/** Shapes that no tile fits: odd head counts, head sizes that are no multiple of four, a prime vocabulary, tiny rows. */
const base: ModelConfig = {
  ...PLAIN_ATTENTION,
  model_type: 'llama',
  hidden_size: 42,
  intermediate_size: 51,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  num_key_value_heads: 1,
  head_dim: 14,
  vocab_size: 521,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: [2],
};
const SHAPES: { name: string; config: ModelConfig; rank: number }[] = [
  { name: 'three heads of 14 over one, vocabulary 521, rank 5', config: base, rank: 5 },
  { name: 'seven heads of 6 over seven, untied head, vocabulary 517, rank 3', rank: 3, config: { ...base, hidden_size: 35, num_attention_heads: 7, num_key_value_heads: 7, head_dim: 6, vocab_size: 517, tie_word_embeddings: false } },
  { name: 'ten heads of 20 over five, rank 1', rank: 1, config: { ...base, hidden_size: 67, num_attention_heads: 10, num_key_value_heads: 5, head_dim: 20 } },
];

const FAMILIES = FAMILY_CONFIGS.map((config) => ({ name: `family ${familyName(config)}`, config, rank: 2 }));

function rows(vocabulary: number): Example[] {
  const random = new Random(3);
  return [3, 11, 2].map((length, row) => {
    const input_ids = Int32Array.from({ length }, () => random.below(vocabulary));
    return { row: row + 1, input_ids, labels: input_ids.map((id, t) => (t === 2 && length > 3 ? -100 : id)) };
  });
}

/** Mean loss in f64, from the plain reference. */
async function referenceLoss(model: ModelSource, examples: Example[], adapter?: Adapter): Promise<number> {
  let sum = 0;
  let count = 0;
  for (const { input_ids, labels } of examples) {
    const logits = await referenceLogits(model, [...input_ids], adapter);
    for (let t = 1; t < labels.length; t++) {
      if (labels[t] === -100) continue;
      const row = logits[t - 1]!;
      const largest = row.reduce((a, b) => Math.max(a, b));
      sum += largest + Math.log(row.reduce((total, x) => total + Math.exp(x - largest), 0)) - row[labels[t]!]!;
      count++;
    }
  }
  return sum / count;
}

/** The reference's slope along a direction, from central differences; steps small enough for its curvature, large enough for f32 storage. */
async function slope(loss: (step: number) => Promise<number>): Promise<number> {
  const h = 2e-3;
  const [a, b, c, d] = [await loss(-2 * h), await loss(-h), await loss(h), await loss(2 * h)];
  return (a - 8 * b + 8 * c - d) / (12 * h);
}

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** A unit direction over a tensor, so that a step of h moves it by h. */
function direction(length: number, seed: number): Float32Array {
  const random = new Random(seed);
  const values = Float32Array.from({ length }, () => random.normal());
  const norm = Math.sqrt(dot(values, values));
  return values.map((x) => x / norm);
}

describe.each([...SHAPES, ...FAMILIES])('a model of $name', ({ config, rank }) => {
  let gpu: Gpu;
  const model = randomModel(config);
  const examples = rows(config.vocab_size);
  const batch = makeMicroBatch(examples, 64);
  beforeAll(async () => {
    gpu = await openDevice(await nodeGpu());
  });
  afterAll(() => gpu.device.destroy());

  async function session(lora: { r: number } | null): Promise<TrainingSession> {
    const recipe = parseRecipe({ model: 'random', dataset: { path: 'made up' }, lora: lora && { ...lora, lora_alpha: 2 * lora.r }, training: { packing: false } });
    const memory = new MemoryLedger();
    const frozen = lora ? new FrozenWeights(model, traitsOf(gpu).maxStorageBufferBindingSize, memory) : null;
    memory.allocate(gpu);
    await frozen?.upload(gpu);
    const spec = { config, frozen: frozen?.weights ?? null, lora: recipe.lora && loraConfig(recipe.lora, config), training: recipe.training, maxTokens: batch.ids.length, maxPositions: 11 };
    const made = new TrainingSession(spec, traitsOf(gpu));
    await made.allocate(gpu);
    return made;
  }

  it('gives the reference’s logits', async () => {
    const memory = new MemoryLedger();
    const frozen = new FrozenWeights(model, traitsOf(gpu).maxStorageBufferBindingSize, memory);
    memory.allocate(gpu);
    await frozen.upload(gpu);
    const ids = [...examples[1]!.input_ids];
    const inference = new Inference(config, frozen.weights, new Map(), traitsOf(gpu), ids.length);
    await inference.allocate(gpu);
    const found = await inference.allLogits(ids);
    const expected = await referenceLogits(model, ids);
    // f32 sums over two layers of logits about 5 in size.
    found.forEach((row, t) => row.forEach((value, i) => expect(Math.abs(value - expected[t]![i]!)).toBeLessThan(1e-4)));
    inference.destroy();
    memory.destroy(gpu);
  });

  it('gives the slope of the reference’s loss along a direction in every adapter tensor', async () => {
    const made = await session({ r: rank });
    const adapter = { ...randomAdapter(config, { r: rank }) };
    adapter.config = { ...adapter.config, lora_alpha: 2 * rank };
    await made.uploadAdapter(adapter);
    await made.accumulate([batch], 0, 1 / batch.trained);
    const gradients = await made.parameters.downloadGradients(gpu);
    expect(gradients.size).toBe(adapter.tensors.size);
    for (const [seed, [name, tensor]] of [...adapter.tensors].entries()) {
      const along = direction(tensor.data.length, seed);
      const expected = await slope((step) => {
        const moved = new Map(adapter.tensors).set(name, { ...tensor, data: tensor.data.map((x, i) => x + step * along[i]!) });
        return referenceLoss(model, examples, { ...adapter, tensors: moved });
      });
      const scale = Math.sqrt(dot(gradients.get(name)!.data, gradients.get(name)!.data));
      // The moved values are stored in f32: 6e-8 of them over a step of 2e-3.
      expect(Math.abs(dot(gradients.get(name)!.data, along) - expected), name).toBeLessThan(1e-3 * scale + 1e-5);
    }
    made.destroy();
  });

  it('gives the slope along a direction in every weight when all are trained', async () => {
    const made = await session(null);
    await uploadTrained(gpu, model, made.parameters);
    await made.accumulate([batch], 0, 1 / batch.trained);
    const gradients = await made.parameters.downloadGradients(gpu);
    for (const [seed, [name, { data }]] of [...gradients].entries()) {
      const along = direction(data.length, seed);
      const expected = await slope(async (step) => referenceLoss(await nudged(model, name, along, step), examples));
      // Twice the adapter's allowance: a weight's own size, about 1.5, is what f32 storage rounds here.
      expect(Math.abs(dot(data, along) - expected), name).toBeLessThan(2e-3 * Math.sqrt(dot(data, data)) + 2e-5);
    }
    made.destroy();
  });
});

/** The model with one weight moved along a direction. */
async function nudged(model: ModelSource, name: string, along: Float32Array, step: number): Promise<ModelSource> {
  const tensor = model.tensors.get(name)!;
  const columns = tensor.shape.at(-1)!;
  const all = await tensor.readRows(0, tensor.shape.length === 1 ? 1 : tensor.shape[0]!);
  const values = new Float32Array(all.slice().buffer).map((x, i) => x + step * along[i]!);
  const bytes = new Uint8Array(values.buffer);
  const moved: StoredTensor = { ...tensor, readRows: (first, count) => Promise.resolve(bytes.slice(first * columns * 4, (first + count) * columns * 4)) };
  return { ...model, tensors: new Map(model.tensors).set(name, moved) };
}
