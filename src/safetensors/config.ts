import { ModelError } from '../core/errors';
import { checkConfig, checkRopeFactors } from '../core/layout';
import type { ModelConfig } from '../core/model';
import { llama3RopeFactors } from '../core/rope';
import type { ConfigFile } from './json';

/** Values of `model_type` in config.json whose weights Hone trains. */
export const KNOWN_MODEL_TYPES: readonly string[] = ['llama'];

/**
 * A model's shape from config.json (transformers 4 and 5 spellings) and generation_config.json.
 * `hasHead`: whether the files hold lm_head.weight, which decides where the config does not say if the head is tied.
 * Throws SafetensorsError for missing or mistyped keys, ModelError for a model that Hone does not train.
 */
export function readConfig(file: ConfigFile, generation: ConfigFile | null, hasHead: boolean): ModelConfig {
  refuseUnsupported(file);
  const hidden_size = file.number('hidden_size');
  const heads = file.number('num_attention_heads');
  const rope = file.section('rope_parameters');
  const config: ModelConfig = {
    model_type: file.optionalString('model_type') ?? '',
    hidden_size,
    intermediate_size: file.number('intermediate_size'),
    num_hidden_layers: file.number('num_hidden_layers'),
    num_attention_heads: heads,
    num_key_value_heads: file.optionalNumber('num_key_value_heads') ?? heads,
    head_dim: file.optionalNumber('head_dim') ?? hidden_size / heads,
    vocab_size: file.number('vocab_size'),
    max_position_embeddings: file.number('max_position_embeddings'),
    rms_norm_eps: file.number('rms_norm_eps'),
    // The default of transformers' LlamaConfig, which Llama 2's configs rely on.
    rope_theta: rope?.optionalNumber('rope_theta') ?? file.optionalNumber('rope_theta') ?? 10000,
    rope_factors: null,
    tie_word_embeddings: file.optionalBoolean('tie_word_embeddings') ?? !hasHead,
    bos_token_id: file.ids('bos_token_id')[0] ?? generation?.ids('bos_token_id')[0] ?? null,
    eos_token_id: [...new Set([...(generation?.ids('eos_token_id') ?? []), ...file.ids('eos_token_id')])],
  };
  checkConfig(file.file, config);
  config.rope_factors = ropeFactors(rope ?? file.section('rope_scaling'), config);
  checkRopeFactors(file.file, config);
  return config;
}

function refuseUnsupported(file: ConfigFile): void {
  const type = file.optionalString('model_type');
  if (type === null || !KNOWN_MODEL_TYPES.includes(type)) {
    throw new ModelError(
      `${file.file}: model_type is ${type ?? 'missing'}, and Hone trains ${KNOWN_MODEL_TYPES.join(', ')}; ` +
        'choose a model of that family (Llama 2 and 3, SmolLM2, TinyLlama).',
    );
  }
  for (const key of ['attention_bias', 'mlp_bias']) {
    if (file.optionalBoolean(key)) throw new ModelError(`${file.file}: ${key} is true, and Hone's ${type} has no biases; choose a model without them.`);
  }
  const activation = file.optionalString('hidden_act') ?? 'silu';
  if (activation !== 'silu') throw new ModelError(`${file.file}: hidden_act is ${activation}, and Hone's ${type} computes silu; choose another model.`);
  if (file.section('quantization_config')) {
    throw new ModelError(`${file.file}: the weights are quantised for another library (quantization_config); choose the original model or a GGUF file.`);
  }
  const rotated = file.optionalNumber('partial_rotary_factor') ?? 1;
  if (rotated !== 1) throw new ModelError(`${file.file}: partial_rotary_factor is ${rotated}, and Hone rotates whole heads; choose another model.`);
}

function ropeFactors(rope: ConfigFile | null, config: ModelConfig): number[] | null {
  const type = rope?.optionalString('rope_type') ?? rope?.optionalString('type') ?? 'default';
  if (!rope || type === 'default') return null;
  if (type === 'linear') {
    const factor = rope.number('factor');
    return factor === 1 ? null : new Array<number>(config.head_dim / 2).fill(factor);
  }
  if (type === 'llama3') {
    return llama3RopeFactors(config.rope_theta, config.head_dim, {
      factor: rope.number('factor'),
      low_freq_factor: rope.number('low_freq_factor'),
      high_freq_factor: rope.number('high_freq_factor'),
      original_max_position_embeddings: rope.number('original_max_position_embeddings'),
    });
  }
  throw new ModelError(`${rope.file}: the rope scaling is ${type}, and Hone knows linear and llama3; choose a model without it.`);
}
