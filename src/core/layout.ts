import { ModelError } from './errors';
import { familyOf, projectionsOf } from './families';
import { rotaryDim } from './rope';
import { projectionPath, projectionShape, type ModelConfig, type Projection, type StoredTensor } from './model';

/**
 * Every weight of a decoder under Hugging Face's names with the shape its config asks for, in the order of the layers;
 * `lm_head.weight` only where the head is not tied to the embedding.
 */
export function expectedTensors(config: ModelConfig): Map<string, number[]> {
  const { hidden_size, vocab_size } = config;
  const shapes = new Map<string, number[]>([['model.embed_tokens.weight', [vocab_size, hidden_size]]]);
  const inLayer = layerTensors(config);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    for (const [name, shape] of inLayer) shapes.set(`model.layers.${layer}.${name}`, shape);
  }
  shapes.set('model.norm.weight', [hidden_size]);
  if (!config.tie_word_embeddings) shapes.set('lm_head.weight', [vocab_size, hidden_size]);
  return shapes;
}

/** The weights of one layer, by their names inside `model.layers.N.`; all layers have the same. */
export function layerTensors(config: ModelConfig): Map<string, number[]> {
  const { hidden_size, head_dim } = config;
  const { qkv_bias, qk_norm, sandwich_norms } = familyOf(config).decoder;
  const shapes = new Map<string, number[]>([['input_layernorm.weight', [hidden_size]]]);
  for (const projection of projectionsOf(config)) {
    const path = projectionPath(projection);
    const shape = projectionShape(config, projection);
    shapes.set(`${path}.weight`, shape);
    if (hasBias(config, qkv_bias, projection)) shapes.set(`${path}.bias`, [shape[0]]);
  }
  if (qk_norm) for (const name of ['q_norm', 'k_norm']) shapes.set(`self_attn.${name}.weight`, [head_dim]);
  shapes.set('post_attention_layernorm.weight', [hidden_size]);
  if (sandwich_norms) for (const name of ['pre_feedforward_layernorm', 'post_feedforward_layernorm']) shapes.set(`${name}.weight`, [hidden_size]);
  return shapes;
}

function hasBias({ attention_bias, mlp_bias }: ModelConfig, qkvBias: boolean, projection: Projection): boolean {
  if (projectionPath(projection).startsWith('mlp.')) return mlp_bias;
  return attention_bias || (qkvBias && projection !== 'o_proj');
}

/** How a layer attends: how many tokens back it sees (null: all), and by which rope it rotates (null: by none). */
export function layerAttention(config: ModelConfig, layer: number): { window: number | null; rope: 'global' | 'local' | null } {
  const slides = config.layer_types[layer] === 'sliding_attention';
  const rope = slides && config.rope_local_base_freq !== null ? 'local' : 'global';
  return { window: slides ? config.sliding_window : null, rope: config.no_rope_layers[layer] === 0 ? null : rope };
}

/**
 * Checks that a file's tensors are those that the config asks for, no fewer, no more and in the same shapes.
 * Throws ModelError naming the first difference.
 */
export function checkTensors(file: string, config: ModelConfig, tensors: ReadonlyMap<string, StoredTensor>): void {
  const expected = expectedTensors(config);
  for (const [name, shape] of expected) {
    const tensor = tensors.get(name);
    if (!tensor) throw new ModelError(`${file}: the weight ${name} is missing; the model is incomplete, download all of its files.`);
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, i) => size !== shape[i])) {
      throw new ModelError(
        `${file}: the weight ${name} has the shape ${tensor.shape.join(' × ')}, and the model's config asks for ${shape.join(' × ')}; ` +
          'weights and config belong to different models.',
      );
    }
  }
  for (const name of tensors.keys()) {
    if (!expected.has(name)) {
      throw new ModelError(`${file}: the weight ${name} has no place in a ${config.model_type} model as Hone knows it; choose a plain one.`);
    }
  }
}

/** The sizes that every decoder has. */
export const SIZE_KEYS = [
  'hidden_size',
  'intermediate_size',
  'num_hidden_layers',
  'num_attention_heads',
  'num_key_value_heads',
  'head_dim',
  'vocab_size',
  'max_position_embeddings',
] as const;

/** Checks sizes that every decoder needs, from whatever file they came. Throws ModelError naming the one that cannot be. */
export function checkConfig(file: string, config: ModelConfig): void {
  for (const key of SIZE_KEYS) {
    if (!Number.isSafeInteger(config[key]) || config[key] < 1 || config[key] > 2 ** 31) {
      throw new ModelError(`${file}: ${key} is ${config[key]}, and a whole number above 0 was expected; the config is damaged.`);
    }
  }
  if (config.num_hidden_layers > 4096) {
    throw new ModelError(`${file}: num_hidden_layers is ${config.num_hidden_layers}, more than any known model has; the config is damaged.`);
  }
  if (config.num_attention_heads % config.num_key_value_heads !== 0) {
    throw new ModelError(
      `${file}: ${config.num_attention_heads} query heads cannot share ${config.num_key_value_heads} key/value heads evenly; the config is damaged.`,
    );
  }
  if (config.head_dim % 2 !== 0 || config.head_dim > 65536) {
    throw new ModelError(`${file}: head_dim is ${config.head_dim}, and rotary embeddings need an even size of at most 65536; the config is damaged.`);
  }
  if (!(config.rms_norm_eps >= 0 && config.rms_norm_eps < 1)) {
    throw new ModelError(`${file}: rms_norm_eps is ${config.rms_norm_eps}, and a small positive number was expected; the config is damaged.`);
  }
  for (const key of ['rope_theta', 'rope_local_base_freq', 'query_pre_attn_scalar', 'attn_logit_softcapping', 'final_logit_softcapping'] as const) {
    const value = config[key];
    if (value !== null && !(value > 0 && Number.isFinite(value))) {
      throw new ModelError(`${file}: ${key} is ${value}, and a positive number was expected; the config is damaged.`);
    }
  }
  if (!(config.partial_rotary_factor > 0 && config.partial_rotary_factor <= 1 && rotaryDim(config) % 2 === 0 && rotaryDim(config) >= 2)) {
    throw new ModelError(
      `${file}: partial_rotary_factor is ${config.partial_rotary_factor}, and a share of ${config.head_dim} that is an even number was expected; the config is damaged.`,
    );
  }
  checkLayers(file, config);
  for (const id of [...config.eos_token_id, ...(config.bos_token_id === null ? [] : [config.bos_token_id])]) {
    if (!Number.isInteger(id) || id < 0 || id >= config.vocab_size) {
      throw new ModelError(`${file}: the special token id ${id} lies outside the vocabulary of ${config.vocab_size}; the config is damaged.`);
    }
  }
}

function checkLayers(file: string, config: ModelConfig): void {
  const { sliding_window: window, num_hidden_layers: layers } = config;
  if (config.layer_types.length > 0 && !(window !== null && Number.isSafeInteger(window) && window >= 1)) {
    throw new ModelError(`${file}: sliding_window is ${window}, and a whole number above 0 was expected; the config is damaged.`);
  }
  for (const key of ['layer_types', 'no_rope_layers'] as const) {
    if (config[key].length !== 0 && config[key].length !== layers) {
      throw new ModelError(`${file}: ${key} names ${config[key].length} layers, and the model has ${layers}; the config is damaged.`);
    }
  }
}

/** Checks that the rope factors, where there are any, are one positive number a frequency. Throws ModelError. */
export function checkRopeFactors(file: string, config: ModelConfig): void {
  const half = rotaryDim(config) / 2;
  for (const factors of [config.rope_factors, config.rope_long?.factors ?? null]) {
    if (factors && (factors.length !== half || !factors.every((factor) => factor > 0 && Number.isFinite(factor)))) {
      throw new ModelError(`${file}: the rope factors are not ${half} positive numbers; the model is damaged.`);
    }
  }
}

/** Throws a RangeError where rows `first` to `first + count` are not all among a tensor's `rows`. */
export function checkRows(name: string, rows: number, first: number, count: number): void {
  if (!(first >= 0 && count >= 0 && first + count <= rows)) {
    throw new RangeError(`${name} has ${rows} rows; rows ${first} to ${first + count} were wanted`);
  }
}
