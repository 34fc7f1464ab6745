import { rotaryDim } from '../rope';
import { LAYER_TENSORS, PLAIN_DECODER, layerTypesOf, type Family } from './family';

/** Every fourth layer has no positions. */
const rotates = (layer: number, interval: number): number => ((layer + 1) % interval === 0 ? 0 : 1);

const pattern = (layers: number, interval: number): number[] => Array.from({ length: layers }, (_, layer) => rotates(layer, interval));

/** Llama whose every fourth layer leaves rotation out (Hugging Face 2025, "SmolLM3"; Yang et al. 2025, "RoPE to NoPE and back again"). */
export const SMOLLM3: Family = {
  modelType: 'smollm3',
  examples: 'SmolLM3',
  decoder: PLAIN_DECODER,
  defaults: { no_rope_layer_interval: 4 },
  biases: ['attention_bias', 'mlp_bias'],
  fromConfig: (keys, config) => {
    const no_rope_layers = keys.numbers('no_rope_layers') ?? pattern(config.num_hidden_layers, keys.number('no_rope_layer_interval'));
    const sliding_window = keys.optionalBoolean('use_sliding_window') ? keys.optionalNumber('sliding_window') : null;
    if (sliding_window === null) return { no_rope_layers };
    return { no_rope_layers, sliding_window, layer_types: layerTypesOf(keys, config, (layer) => no_rope_layers[layer] === 0) };
  },
  gguf: {
    architecture: 'smollm3',
    interleavesHeads: true,
    layerTensors: LAYER_TENSORS,
    fromKeys: (_, { num_hidden_layers }) => ({ no_rope_layers: pattern(num_hidden_layers, 4) }),
    toKeys: (config) => [
      ['vocab_size', 'u32', config.vocab_size],
      ['rope.dimension_count', 'u32', rotaryDim(config)],
    ],
    inexpressible: ({ no_rope_layers, num_hidden_layers }) =>
      pattern(num_hidden_layers, 4).every((rotated, layer) => (no_rope_layers[layer] ?? 1) === rotated)
        ? null
        : 'other layers than every fourth leave positions out, and GGUF has no key for that',
  },
};
