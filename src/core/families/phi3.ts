import type { ModelConfig } from '../model';
import { rotaryDim } from '../rope';
import { PLAIN_DECODER, layerTypes, type Family } from './family';

const windows = (sliding_window: number | null, { num_hidden_layers }: ModelConfig): Partial<ModelConfig> => ({
  sliding_window,
  layer_types: layerTypes(num_hidden_layers, () => sliding_window !== null),
});

/** Llama with q, k, v in one matrix and gate, up in another, and a long-rope in its long-context models (Abdin et al. 2024, "Phi-3"). */
export const PHI3: Family = {
  modelType: 'phi3',
  examples: 'Phi-3, Phi-3.5',
  decoder: { ...PLAIN_DECODER, fused_projections: true },
  defaults: {},
  biases: [],
  fromConfig: (keys, config) => windows(keys.optionalNumber('sliding_window'), config),
  gguf: {
    architecture: 'phi3',
    interleavesHeads: false,
    layerTensors: {
      input_layernorm: 'attn_norm',
      'self_attn.qkv_proj': 'attn_qkv',
      'self_attn.o_proj': 'attn_output',
      post_attention_layernorm: 'ffn_norm',
      'mlp.gate_up_proj': 'ffn_up',
      'mlp.down_proj': 'ffn_down',
    },
    fromKeys: (keys, config) => windows(keys.optionalNumber('attention.sliding_window') || null, config),
    toKeys: (config) => [
      ['rope.dimension_count', 'u32', rotaryDim(config)],
      ['attention.sliding_window', 'u32', config.sliding_window ?? 0],
      ['rope.scaling.original_context_length', 'u32', config.rope_long?.original_max_position_embeddings ?? config.max_position_embeddings],
      ...(config.rope_long ? ([['rope.scaling.attn_factor', 'f32', config.rope_long.attention_factor]] as const) : []),
    ],
    inexpressible: () => null,
  },
};
