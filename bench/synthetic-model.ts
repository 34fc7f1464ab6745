import { f32ToF16 } from '../src/core/dtype';
import { PLAIN_ATTENTION, rowBytes, WEIGHT_BLOCKS, type ModelConfig, type ModelSource, type StoredTensor, type WeightType } from '../src/core/model';
import { Random } from '../src/core/random';
import { weightSpecs } from '../src/models/weights';

/** SmolLM2-135M's shape, from its config.json. */
export const SMOLLM2_135M: ModelConfig = {
  ...PLAIN_ATTENTION,
  model_type: 'llama',
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  head_dim: 64,
  vocab_size: 49152,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 100000,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: [2],
};

/** stories260K's shape, from its config.json. */
export const STORIES_260K: ModelConfig = {
  ...SMOLLM2_135M,
  hidden_size: 64,
  intermediate_size: 172,
  num_hidden_layers: 5,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 8,
  vocab_size: 512,
  max_position_embeddings: 512,
  rope_theta: 10000,
};

/** A model of a given shape with seeded random weights: what speed and memory are measured on without any file. */
export function syntheticModel(config: ModelConfig, type: WeightType): ModelSource {
  const tensors = new Map<string, StoredTensor>();
  for (const [i, { name, shape }] of weightSpecs(config).entries()) {
    const stored = shape.length === 1 ? 'F32' : type;
    const columns = shape[shape.length - 1]!;
    const readRows = (first: number, count: number): Promise<Uint8Array> =>
      Promise.resolve(randomRows(new Random(first + 1, i), stored, shape.length === 1 ? 1 : count, columns));
    tensors.set(name, { name, shape, type: stored, readRows });
  }
  return { name: `synthetic ${type}`, format: 'gguf', config, tensors, tokenizer: null, chatTemplate: null, bytes: 0, files: [] };
}

/** Rows of small weights, about 0.04 in size, in a type's block layout. */
function randomRows(random: Random, type: WeightType, rows: number, columns: number): Uint8Array {
  const bytes = new Uint8Array(rows * rowBytes(type, columns));
  const view = new DataView(bytes.buffer);
  const weight = (): number => (random.uniform() - 0.5) * 0.15;
  const block = WEIGHT_BLOCKS[type].bytes;
  for (let at = 0; at < bytes.length; at += block) {
    if (type === 'F32') view.setFloat32(at, weight(), true);
    else if (type === 'F16') view.setUint16(at, f32ToF16(weight()), true);
    else if (type === 'BF16') view.setUint16(at, 0x3d00 | (random.u32() & 0x80ff), true);
    else {
      for (let i = 2; i < block; i++) bytes[at + i] = random.u32() & 255;
      const steps = type === 'Q8_0' ? 256 : 16;
      view.setUint16(at, f32ToF16(0.15 / steps), true);
      if (type === 'Q4_1') view.setUint16(at + 2, f32ToF16(-0.075), true);
    }
  }
  return bytes;
}
