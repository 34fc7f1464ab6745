import { layerTypes, layerTypesOf, type Family } from './family';
import { GEMMA_DECODER, GEMMA_LAYER_TENSORS, gemmaInexpressible, ggufScoreScalar, slidesEvery } from './gemma2';

const slides = slidesEvery(6);
const LAYERS_OF_27B = 62;

/** Five sliding layers to a full one, each kind with its own rope, and norms on the heads of q and k (Gemma team 2025, "Gemma 3"). */
export const GEMMA3: Family = {
  modelType: 'gemma3_text',
  examples: 'Gemma 3',
  decoder: { ...GEMMA_DECODER, qk_norm: true },
  defaults: {
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    vocab_size: 262208,
    max_position_embeddings: 131072,
    rms_norm_eps: 1e-6,
    rope_theta: 1_000_000,
    rope_local_base_freq: 10_000,
    sliding_window: 4096,
    sliding_window_pattern: 6,
    query_pre_attn_scalar: 256,
    tie_word_embeddings: true,
  },
  biases: ['attention_bias'],
  fromConfig: (keys, config) => ({
    sliding_window: keys.number('sliding_window'),
    layer_types: layerTypesOf(keys, config, slidesEvery(keys.optionalNumber('_sliding_window_pattern') ?? keys.number('sliding_window_pattern'))),
    query_pre_attn_scalar: keys.number('query_pre_attn_scalar'),
    // attn_logit_softcapping is left from Gemma 2 and not computed with, in transformers neither.
    final_logit_softcapping: keys.optionalNumber('final_logit_softcapping'),
    rope_local_base_freq: keys.number('rope_local_base_freq'),
  }),
  gguf: {
    architecture: 'gemma3',
    interleavesHeads: false,
    layerTensors: { ...GEMMA_LAYER_TENSORS, 'self_attn.q_norm': 'attn_q_norm', 'self_attn.k_norm': 'attn_k_norm' },
    fromKeys: (keys, config) => ({
      sliding_window: keys.number('attention.sliding_window'),
      layer_types: layerTypes(config.num_hidden_layers, slidesEvery(keys.optionalNumber('attention.sliding_window_pattern') ?? 6)),
      query_pre_attn_scalar: ggufScoreScalar(LAYERS_OF_27B, config),
      final_logit_softcapping: keys.optionalNumber('final_logit_softcapping'),
      rope_local_base_freq: keys.optionalNumber('rope.freq_base_swa') ?? 10_000,
    }),
    toKeys: ({ sliding_window, rope_local_base_freq, final_logit_softcapping }) => [
      ['attention.sliding_window', 'u32', sliding_window ?? 0],
      ['rope.freq_base_swa', 'f32', rope_local_base_freq ?? 10_000],
      ...(final_logit_softcapping === null ? [] : ([['final_logit_softcapping', 'f32', final_logit_softcapping]] as const)),
    ],
    inexpressible: (config) => gemmaInexpressible(config, slides, LAYERS_OF_27B),
  },
};
