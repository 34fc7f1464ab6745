import { LAYER_TENSORS, PLAIN_DECODER, biasesInexpressible, type Family } from './family';
import { qwenWindows } from './qwen2';

/** Llama with a norm on each head of q and k, and a head size of its own (Qwen team 2025, "Qwen3 technical report"). */
export const QWEN3: Family = {
  modelType: 'qwen3',
  examples: 'Qwen3',
  decoder: { ...PLAIN_DECODER, qk_norm: true },
  defaults: { head_dim: 128 },
  biases: ['attention_bias'],
  fromConfig: qwenWindows,
  gguf: {
    architecture: 'qwen3',
    interleavesHeads: false,
    layerTensors: { ...LAYER_TENSORS, 'self_attn.q_norm': 'attn_q_norm', 'self_attn.k_norm': 'attn_k_norm' },
    fromKeys: () => ({}),
    toKeys: () => [],
    inexpressible: biasesInexpressible,
  },
};
