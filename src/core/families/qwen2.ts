import { LAYER_TENSORS, PLAIN_DECODER, layerTypesOf, type Family } from './family';

/** Windows in the layers from max_window_layers on, where `use_sliding_window` is set; no released model uses them, and GGUF has no key. */
export const qwenWindows: Family['fromConfig'] = (keys, config) => {
  const sliding_window = keys.optionalBoolean('use_sliding_window') ? keys.optionalNumber('sliding_window') : null;
  if (sliding_window === null) return {};
  const first = keys.optionalNumber('max_window_layers') ?? 28;
  return { sliding_window, layer_types: layerTypesOf(keys, config, (layer) => layer >= first) };
};

/** Llama with biases on q, k and v (Qwen team 2024, "Qwen2 technical report"). */
export const QWEN2: Family = {
  modelType: 'qwen2',
  examples: 'Qwen2, Qwen2.5',
  decoder: { ...PLAIN_DECODER, qkv_bias: true },
  defaults: {},
  biases: [],
  fromConfig: qwenWindows,
  gguf: {
    architecture: 'qwen2',
    interleavesHeads: false,
    layerTensors: LAYER_TENSORS,
    fromKeys: () => ({}),
    toKeys: () => [],
    inexpressible: () => null,
  },
};
