import { layerTypes, type Family } from './family';
import { LLAMA } from './llama';

/**
 * Llama with an optional sliding window in every layer (Jiang et al. 2023). GGUF files call it llama and know no window:
 * llama.cpp sees everything, which differs only in texts longer than the window.
 */
export const MISTRAL: Family = {
  ...LLAMA,
  modelType: 'mistral',
  examples: 'Mistral 7B, Mistral Nemo',
  defaults: { sliding_window: 4096 },
  biases: [],
  fromConfig: (keys, { num_hidden_layers }) => {
    const sliding_window = keys.optionalNumber('sliding_window');
    return { sliding_window, layer_types: layerTypes(num_hidden_layers, () => sliding_window !== null) };
  },
};
