import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeMicroBatch, type MicroBatch } from '../../src/core/batch';
import { Random } from '../../src/core/random';
import { FrozenWeights } from '../../src/models/weights';
import { openDevice, traitsOf, type Gpu } from '../../src/runtime/device';
import { MemoryLedger } from '../../src/runtime/memory';
import { loraConfig, parseRecipe } from '../../src/training/recipe';
import { TrainingSession } from '../../src/training/session';
import { FAMILY_CONFIGS, randomModel } from '../fixtures';
import { nodeGpu } from '../gpu';
import { referenceLogits } from '../reference/decoder';

const phi = FAMILY_CONFIGS.find(({ model_type }) => model_type === 'phi3')!;
const ORIGINAL = 12;
const config = { ...phi, num_hidden_layers: 1, rope_long: { ...phi.rope_long!, original_max_position_embeddings: ORIGINAL } };

/** Texts of these lengths, laid out in one row. */
function batchOf(lengths: readonly number[]): { texts: Int32Array[]; batch: MicroBatch } {
  const random = new Random(7);
  const texts = lengths.map((length) => Int32Array.from({ length }, () => random.below(config.vocab_size)));
  const input_ids = Int32Array.from(texts.flatMap((text) => [...text]));
  const segment_ids = Int32Array.from(texts.flatMap((text, i) => Array.from(text, () => i)));
  return { texts, batch: makeMicroBatch([{ row: 1, input_ids, labels: input_ids, segment_ids }], input_ids.length) };
}

describe('long-rope in training', () => {
  const model = randomModel(config);
  let gpu: Gpu;
  let session: TrainingSession;

  beforeAll(async () => {
    gpu = await openDevice(await nodeGpu());
    const memory = new MemoryLedger();
    const frozen = new FrozenWeights(model, traitsOf(gpu).maxStorageBufferBindingSize, memory);
    memory.allocate(gpu);
    await frozen.upload(gpu);
    const recipe = parseRecipe({ model: '', dataset: { path: '' }, lora: { r: 1, target_modules: ['o_proj'] } });
    const lora = loraConfig(recipe.lora!, config);
    session = new TrainingSession({ config, frozen: frozen.weights, lora, training: recipe.training, maxTokens: 40, maxPositions: 40 }, traitsOf(gpu));
    await session.allocate(gpu);
  });
  afterAll(() => gpu.device.destroy());

  /** The f64 reference's mean loss; `long` overrules its choice of factors, which goes by each text's own length. */
  async function referenceLoss(texts: readonly Int32Array[], long: boolean): Promise<number> {
    const fixed = { ...model, config: { ...config, rope_long: { ...config.rope_long, original_max_position_embeddings: long ? 0 : 1000 } } };
    let [sum, count] = [0, 0];
    for (const text of texts) {
      const logits = await referenceLogits(fixed, [...text]);
      for (let t = 1; t < text.length; t++, count++) {
        const row = logits[t - 1]!;
        sum += Math.log(row.reduce((total, x) => total + Math.exp(x), 0)) - row[text[t]!]!;
      }
    }
    return sum / count;
  }

  it.each([
    ['short texts that share a row longer than the original length take the short factors', [11, 12, 10], false],
    ['one text beyond it gives all of its batch the long ones', [13, 9], true],
    ['the next batch chooses again', [12, 4], false],
  ])('%s', async (_, lengths, long) => {
    const { texts, batch } = batchOf(lengths);
    const { loss } = await session.evaluate([batch]);
    const [expected, other] = [await referenceLoss(texts, long), await referenceLoss(texts, !long)];
    expect(Math.abs(other - expected)).toBeGreaterThan(1e-3);
    // One f32 forward against f64, of a loss of about 5.
    expect(loss).toBeCloseTo(expected, 5);
  });
});
