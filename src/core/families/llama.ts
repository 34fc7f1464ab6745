import { rotaryDim } from '../rope';
import { LAYER_TENSORS, PLAIN_DECODER, type Family } from './family';

/** Touvron et al. 2023; the decoder that the others differ from. */
export const LLAMA: Family = {
  modelType: 'llama',
  examples: 'Llama 2 and 3, SmolLM2, TinyLlama',
  decoder: PLAIN_DECODER,
  defaults: {},
  biases: ['attention_bias', 'mlp_bias'],
  fromConfig: () => ({}),
  gguf: {
    architecture: 'llama',
    interleavesHeads: true,
    layerTensors: LAYER_TENSORS,
    fromKeys: () => ({}),
    toKeys: (config) => [
      ['vocab_size', 'u32', config.vocab_size],
      ['rope.dimension_count', 'u32', rotaryDim(config)],
    ],
    inexpressible: () => null,
  },
};
