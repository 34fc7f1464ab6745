import type { ByteSource } from '../core/bytes';
import { SIZE_KEYS } from '../core/layout';
import type { ModelConfig, ModelSource } from '../core/model';
import { llama3RopeFactors, longRopeAttentionFactor, rotaryDim } from '../core/rope';
import { baseName, readJson, type Json } from '../safetensors/json';

/** 16- and 32-bit types of a whole model, as config files spell them. */
export const TORCH_TYPES = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const;
export type FloatType = keyof typeof TORCH_TYPES;

/** What each family's text model is called in `architectures`. */
const MODEL_CLASSES: Readonly<Record<string, string>> = {
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
  gemma2: 'Gemma2ForCausalLM',
  gemma3_text: 'Gemma3ForCausalLM',
  phi3: 'Phi3ForCausalLM',
  smollm3: 'SmolLM3ForCausalLM',
};

/**
 * config.json of a merged model: the base's own where it has one (of a model that sees as well, its text part), else one
 * made from the config that was read out of a GGUF file.
 */
export async function configJson(model: ModelSource, type: FloatType): Promise<Json> {
  const file = fileOf(model, 'config.json');
  const own = file ? textPart(await readJson(file), model.config) : madeConfig(model.config);
  return { ...own, torch_dtype: TORCH_TYPES[type], dtype: TORCH_TYPES[type] };
}

/** Keys whose values transformers wants to be floats, which JSON.stringify writes as integers where they are whole. */
const WHOLE_FLOATS = /^(\s*"(?:\w+_logit_softcapping|rms_norm_eps|initializer_range|rope_theta|rope_local_base_freq|\w*factor)": -?\d+)(?=,?$)/gm;

/** A config's text, its floats spelled as Python reads them: 30.0, never 30. */
export function configText(config: Json): string {
  return `${JSON.stringify(config, null, 2).replace(WHOLE_FLOATS, '$1.0')}\n`;
}

/** generation_config.json: the base's own, else its special tokens. */
export async function generationJson(model: ModelSource): Promise<Json> {
  const file = fileOf(model, 'generation_config.json');
  return file ? await readJson(file) : specialTokens(model.config);
}

/** A file of a model's folder, by its name. */
export function fileOf(model: ModelSource, name: string): ByteSource | undefined {
  return model.files.find((file) => baseName(file) === name);
}

/** Keys that a whole multimodal config has and its text part may leave out. */
const WHOLE_KEYS = ['bos_token_id', 'eos_token_id', 'pad_token_id', 'tie_word_embeddings', 'transformers_version'] as const;

function textPart(whole: Json, { model_type }: ModelConfig): Json {
  const text = whole['text_config'];
  if (typeof text !== 'object' || text === null) return whole;
  const kept = Object.fromEntries(WHOLE_KEYS.filter((key) => key in whole).map((key) => [key, whole[key]]));
  return { ...kept, ...(text as Json), architectures: [MODEL_CLASSES[model_type]], model_type };
}

function specialTokens({ bos_token_id, eos_token_id: ends }: ModelConfig): Json {
  return { ...(bos_token_id !== null && { bos_token_id }), ...(ends.length > 0 && { eos_token_id: ends.length === 1 ? ends[0] : ends }) };
}

function madeConfig(config: ModelConfig): Json {
  const { model_type, rms_norm_eps, tie_word_embeddings } = config;
  return {
    architectures: [MODEL_CLASSES[model_type]],
    model_type,
    ...Object.fromEntries(SIZE_KEYS.map((key) => [key, config[key]])),
    rms_norm_eps,
    tie_word_embeddings,
    ...specialTokens(config),
    // The classes' own defaults may lie beyond a vocabulary.
    pad_token_id: null,
    attention_bias: config.attention_bias,
    ...(model_type.startsWith('gemma') ? gemmaKeys(config) : { hidden_act: 'silu', ...windowKeys(config) }),
    ...ropeKeys(config),
  };
}

function gemmaKeys(config: ModelConfig): Json {
  const { query_pre_attn_scalar, attn_logit_softcapping, final_logit_softcapping, sliding_window, head_dim } = config;
  return {
    hidden_act: 'gelu_pytorch_tanh',
    hidden_activation: 'gelu_pytorch_tanh',
    query_pre_attn_scalar: query_pre_attn_scalar ?? head_dim,
    attn_logit_softcapping,
    final_logit_softcapping,
    sliding_window,
    layer_types: layerTypes(config),
    ...(config.model_type === 'gemma3_text' && { rope_local_base_freq: config.rope_local_base_freq, use_bidirectional_attention: false }),
  };
}

function layerTypes({ layer_types, num_hidden_layers }: ModelConfig): string[] {
  return layer_types.length > 0 ? [...layer_types] : new Array<string>(num_hidden_layers).fill('full_attention');
}

function windowKeys(config: ModelConfig): Json {
  const { model_type, sliding_window, no_rope_layers, num_hidden_layers } = config;
  switch (model_type) {
    case 'mistral':
    case 'phi3':
      return { sliding_window };
    case 'qwen2':
    case 'qwen3': {
      if (sliding_window === null) return { use_sliding_window: false };
      return { use_sliding_window: true, sliding_window, layer_types: layerTypes(config) };
    }
    case 'smollm3':
      return { use_sliding_window: false, mlp_bias: config.mlp_bias, no_rope_layers: no_rope_layers.length > 0 ? no_rope_layers : new Array<number>(num_hidden_layers).fill(1) };
    default:
      return { mlp_bias: config.mlp_bias };
  }
}

function ropeKeys(config: ModelConfig): Json {
  const { rope_theta, rope_factors, rope_long, max_position_embeddings, partial_rotary_factor } = config;
  const shared = { rope_theta, ...(partial_rotary_factor !== 1 && { partial_rotary_factor }) };
  if (rope_long) {
    const { factors, original_max_position_embeddings, attention_factor } = rope_long;
    const usual = Math.abs(attention_factor - longRopeAttentionFactor(max_position_embeddings, original_max_position_embeddings)) < 1e-6;
    // Phi-3's own configs have these three keys and no other, and older versions of transformers insist on that.
    const scaling = { type: 'longrope', short_factor: rope_factors, long_factor: factors, ...(usual ? {} : { attention_factor }) };
    return { ...shared, original_max_position_embeddings, rope_scaling: scaling };
  }
  return { ...shared, rope_scaling: rope_factors && ropeScaling(config, rope_factors) };
}

/** Llama 3's settings as its models have them: what other numbers they had is lost in a GGUF file. */
const LLAMA3 = { low_freq_factor: 1, high_freq_factor: 4 };
const LLAMA3_ORIGINALS = [8192, 4096, 2048, 16384, 32768];

/** rope_scaling that gives these factors: linear, Llama 3's where its numbers are found again, else the factors themselves. */
function ropeScaling(config: ModelConfig, factors: readonly number[]): Json {
  const { rope_theta, max_position_embeddings } = config;
  const largest = Math.max(...factors);
  if (factors.every((factor) => factor === factors[0])) return { rope_type: 'linear', factor: largest };
  for (const original_max_position_embeddings of LLAMA3_ORIGINALS) {
    const scaling = { ...LLAMA3, factor: largest, original_max_position_embeddings };
    const made = llama3RopeFactors(rope_theta, rotaryDim(config), scaling);
    // GGUF files hold the factors in float32.
    if (made.every((factor, i) => Math.abs(factor - factors[i]!) <= 2e-6 * factor)) return { rope_type: 'llama3', ...scaling };
  }
  return {
    rope_type: 'longrope',
    short_factor: factors,
    long_factor: factors,
    factor: 1,
    attention_factor: 1,
    original_max_position_embeddings: max_position_embeddings,
  };
}
