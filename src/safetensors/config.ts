import { ModelError } from '../core/errors';
import { FAMILIES, TEXT_PARTS, knownFamilies } from '../core/families';
import type { Family } from '../core/families/family';
import { checkConfig, checkRopeFactors } from '../core/layout';
import { PLAIN_ATTENTION, type ModelConfig } from '../core/model';
import { llama3RopeFactors, longRopeAttentionFactor, rotaryDim } from '../core/rope';
import type { ConfigFile } from './json';

/**
 * A model's shape from config.json (transformers 4 and 5 spellings) and generation_config.json; of a model that sees as
 * well, that of its text part. `hasHead`: whether the files hold a head's weights, which decides where the config does
 * not say if the head is tied. Throws SafetensorsError for missing or mistyped keys, ModelError for a model that Hone does not train.
 */
export function readConfig(whole: ConfigFile, generation: ConfigFile | null, hasHead: boolean): ModelConfig {
  const { family, file } = textPart(whole);
  refuseUnsupported(file, family);
  const hidden_size = file.number('hidden_size');
  const heads = file.number('num_attention_heads');
  const rope = ropeSections(file);
  const common: ModelConfig = {
    ...PLAIN_ATTENTION,
    model_type: family.modelType,
    hidden_size,
    intermediate_size: file.number('intermediate_size'),
    num_hidden_layers: file.number('num_hidden_layers'),
    num_attention_heads: heads,
    num_key_value_heads: file.optionalNumber('num_key_value_heads') ?? heads,
    head_dim: file.optionalNumber('head_dim') ?? hidden_size / heads,
    vocab_size: file.number('vocab_size'),
    max_position_embeddings: file.number('max_position_embeddings'),
    rms_norm_eps: file.number('rms_norm_eps'),
    partial_rotary_factor: rope.global?.optionalNumber('partial_rotary_factor') ?? file.optionalNumber('partial_rotary_factor') ?? 1,
    // The default of transformers' LlamaConfig, which Llama 2's configs rely on.
    rope_theta: rope.global?.optionalNumber('rope_theta') ?? file.optionalNumber('rope_theta') ?? 10000,
    tie_word_embeddings: file.optionalBoolean('tie_word_embeddings') ?? whole.optionalBoolean('tie_word_embeddings') ?? !hasHead,
    attention_bias: file.optionalBoolean('attention_bias') ?? false,
    mlp_bias: file.optionalBoolean('mlp_bias') ?? false,
    bos_token_id: file.ids('bos_token_id')[0] ?? generation?.ids('bos_token_id')[0] ?? null,
    eos_token_id: [...new Set([...(generation?.ids('eos_token_id') ?? []), ...whole.ids('eos_token_id'), ...file.ids('eos_token_id')])],
  };
  const config = { ...common, ...family.fromConfig(file, common) };
  const local = rope.local?.optionalNumber('rope_theta') ?? null;
  if (local !== null && config.rope_local_base_freq !== null) config.rope_local_base_freq = local;
  checkConfig(file.file, config);
  Object.assign(config, ropeScaling(rope.global, config, file));
  checkRopeFactors(file.file, config);
  return config;
}

/** The family, and the keys of the model's text part over the family's defaults. Throws a ModelError where the family is unknown. */
function textPart(whole: ConfigFile): { family: Family; file: ConfigFile } {
  const text = whole.section('text_config');
  const type = whole.optionalString('model_type');
  const textType = text?.optionalString('model_type') ?? type;
  const named = [textType, type].map((name) => TEXT_PARTS[name ?? ''] ?? name);
  const family = FAMILIES.find(({ modelType }) => modelType === named[0]) ?? FAMILIES.find(({ modelType }) => modelType === named[1]);
  if (!family) {
    throw new ModelError(`${whole.file}: model_type is ${type ?? 'missing'}, and Hone trains ${knownFamilies()}; choose a model of one of these.`);
  }
  return { family, file: (text ?? whole).withDefaults(family.defaults) };
}

function refuseUnsupported(file: ConfigFile, { modelType, decoder, biases }: Family): void {
  for (const key of ['attention_bias', 'mlp_bias'] as const) {
    if (file.optionalBoolean(key) && !biases.includes(key)) {
      throw new ModelError(`${file.file}: ${key} is true, and Hone's ${modelType} has no such biases; choose a model without them.`);
    }
  }
  const key = file.optionalString('hidden_activation') === null ? 'hidden_act' : 'hidden_activation';
  const activation = file.optionalString(key) ?? decoder.activation;
  if (activation !== decoder.activation) {
    throw new ModelError(`${file.file}: ${key} is ${activation}, and Hone's ${modelType} computes ${decoder.activation}; choose another model.`);
  }
  if (file.section('quantization_config')) {
    throw new ModelError(`${file.file}: the weights are quantised for another library (quantization_config); choose the original model or a GGUF file.`);
  }
  if (file.optionalBoolean('use_bidirectional_attention')) {
    throw new ModelError(`${file.file}: use_bidirectional_attention is true, and Hone trains models that look back only; choose another model.`);
  }
}

/** Where the rope's keys lie: one section for all layers, or (transformers 5) one for each type of layer. */
function ropeSections(file: ConfigFile): { global: ConfigFile | null; local: ConfigFile | null } {
  const parameters = file.section('rope_parameters');
  const global = parameters?.section('full_attention') ?? null;
  if (global) return { global, local: parameters!.section('sliding_attention') };
  return { global: parameters ?? file.section('rope_scaling'), local: null };
}

function ropeScaling(rope: ConfigFile | null, config: ModelConfig, file: ConfigFile): Pick<ModelConfig, 'rope_factors' | 'rope_long'> {
  const type = rope?.optionalString('rope_type') ?? rope?.optionalString('type') ?? 'default';
  const plain = { rope_factors: null, rope_long: null };
  // Qwen's mrope gives image positions three numbers; text has three equal ones, which is plain rope.
  if (!rope || type === 'default' || type === 'mrope') return plain;
  if (type === 'linear') {
    const factor = rope.number('factor');
    return factor === 1 ? plain : { ...plain, rope_factors: new Array<number>(rotaryDim(config) / 2).fill(factor) };
  }
  if (type === 'llama3') {
    const factors = llama3RopeFactors(config.rope_theta, rotaryDim(config), {
      factor: rope.number('factor'),
      low_freq_factor: rope.number('low_freq_factor'),
      high_freq_factor: rope.number('high_freq_factor'),
      original_max_position_embeddings: rope.number('original_max_position_embeddings'),
    });
    return { ...plain, rope_factors: factors };
  }
  // Phi-3's first configs call it su.
  if (type === 'longrope' || type === 'su') return longRope(rope, config, file);
  throw new ModelError(`${rope.file}: the rope scaling is ${type}, and Hone knows linear, llama3 and longrope; choose a model without it.`);
}

function longRope(rope: ConfigFile, config: ModelConfig, file: ConfigFile): Pick<ModelConfig, 'rope_factors' | 'rope_long'> {
  const original = rope.optionalNumber('original_max_position_embeddings') ?? file.number('original_max_position_embeddings');
  const list = (key: string): number[] => {
    const factors = rope.numbers(key);
    if (!factors) throw new ModelError(`${rope.file}: ${key} is missing, which longrope needs; download the config again.`);
    return factors;
  };
  const stretch = rope.optionalNumber('factor') ?? config.max_position_embeddings / original;
  const attention_factor = rope.optionalNumber('attention_factor') ?? longRopeAttentionFactor(stretch, original);
  return {
    rope_factors: list('short_factor'),
    rope_long: { factors: list('long_factor'), original_max_position_embeddings: original, attention_factor },
  };
}
