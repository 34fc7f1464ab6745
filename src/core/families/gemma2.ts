import type { ModelConfig } from '../model';
import { LAYER_TENSORS, PLAIN_DECODER, biasesInexpressible, layerTypes, layerTypesOf, slidesAs, type DecoderTraits, type Family } from './family';

/** What Gemma 2 and 3 share. */
export const GEMMA_DECODER: DecoderTraits = {
  ...PLAIN_DECODER,
  norm_offset: 1,
  activation: 'gelu_pytorch_tanh',
  sandwich_norms: true,
  scaled_embedding: true,
};

export const GEMMA_LAYER_TENSORS = {
  ...LAYER_TENSORS,
  post_attention_layernorm: 'post_attention_norm',
  pre_feedforward_layernorm: 'ffn_norm',
  post_feedforward_layernorm: 'post_ffw_norm',
} as const;

/** All layers slide but the last of each `pattern`. */
export const slidesEvery = (pattern: number) => (layer: number): boolean => (layer + 1) % pattern !== 0;

/** llama.cpp knows the 27B models by their number of layers and scales their scores by hidden / heads; others by the head size. */
export function ggufScoreScalar(layersOf27B: number, { num_hidden_layers, hidden_size, num_attention_heads, head_dim }: ModelConfig): number {
  return num_hidden_layers === layersOf27B ? hidden_size / num_attention_heads : head_dim;
}

/** Says where a Gemma config goes beyond what llama.cpp fixes in its code: the pattern of windows and the scale of scores. */
export function gemmaInexpressible(config: ModelConfig, slides: (layer: number) => boolean, layersOf27B: number): string | null {
  const biases = biasesInexpressible(config);
  if (biases) return biases;
  if (!slidesAs(config, slides)) return "its layers slide in another pattern than llama.cpp's";
  const scalar = ggufScoreScalar(layersOf27B, config);
  if ((config.query_pre_attn_scalar ?? config.head_dim) === scalar) return null;
  return `query_pre_attn_scalar is ${config.query_pre_attn_scalar}, and llama.cpp computes with ${scalar}`;
}

const slides = slidesEvery(2);
const LAYERS_OF_27B = 46;

/** Windows in every other layer, caps on scores and logits, norms before and after (Gemma team 2024, "Gemma 2"). */
export const GEMMA2: Family = {
  modelType: 'gemma2',
  examples: 'Gemma 2',
  decoder: GEMMA_DECODER,
  defaults: {
    head_dim: 256,
    sliding_window: 4096,
    query_pre_attn_scalar: 256,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
    tie_word_embeddings: true,
  },
  biases: ['attention_bias'],
  fromConfig: (keys, config) => ({
    sliding_window: keys.number('sliding_window'),
    layer_types: layerTypesOf(keys, config, slides),
    query_pre_attn_scalar: keys.number('query_pre_attn_scalar'),
    attn_logit_softcapping: keys.optionalNumber('attn_logit_softcapping'),
    final_logit_softcapping: keys.optionalNumber('final_logit_softcapping'),
  }),
  gguf: {
    architecture: 'gemma2',
    interleavesHeads: false,
    layerTensors: GEMMA_LAYER_TENSORS,
    fromKeys: (keys, config) => ({
      sliding_window: keys.number('attention.sliding_window'),
      layer_types: layerTypes(config.num_hidden_layers, slidesEvery(keys.optionalNumber('attention.sliding_window_pattern') ?? 2)),
      query_pre_attn_scalar: ggufScoreScalar(LAYERS_OF_27B, config),
      attn_logit_softcapping: keys.optionalNumber('attn_logit_softcapping') ?? 50,
      final_logit_softcapping: keys.optionalNumber('final_logit_softcapping') ?? 30,
    }),
    toKeys: ({ sliding_window, attn_logit_softcapping, final_logit_softcapping }) => [
      ['attention.sliding_window', 'u32', sliding_window ?? 0],
      ['attn_logit_softcapping', 'f32', attn_logit_softcapping ?? 0],
      ['final_logit_softcapping', 'f32', final_logit_softcapping ?? 0],
    ],
    inexpressible: (config) =>
      config.attn_logit_softcapping === null || config.final_logit_softcapping === null
        ? 'it has no soft caps, and llama.cpp always caps'
        : gemmaInexpressible(config, slides, LAYERS_OF_27B),
  },
};
