import type { LayerType, ModelConfig } from '../model';

/** Where a family's decoder turns off the plain one (Llama's). */
export interface DecoderTraits {
  /** Norms multiply by this plus their weight: Gemma stores the weight less one. */
  norm_offset: 0 | 1;
  activation: 'silu' | 'gelu_pytorch_tanh';
  /** q, k and v add a bias. */
  qkv_bias: boolean;
  /** Each head of q and k is normed before it is rotated. */
  qk_norm: boolean;
  /** What attention and MLP give is normed before it is added, and the MLP has a norm of its own before it. */
  sandwich_norms: boolean;
  /** One matrix makes q, k and v, another gate and up. */
  fused_projections: boolean;
  /** Embeddings are multiplied by the root of hidden_size. */
  scaled_embedding: boolean;
}

/** The plain decoder: Llama's. */
export const PLAIN_DECODER: DecoderTraits = {
  norm_offset: 0,
  activation: 'silu',
  qkv_bias: false,
  qk_norm: false,
  sandwich_norms: false,
  fused_projections: false,
  scaled_embedding: false,
};

/** Typed keys of a config.json, or of a GGUF file under its architecture's prefix. A key of another type is an error that names it. */
export interface Keys {
  /** For errors. */
  readonly file: string;
  /** Throws where the key is missing. */
  number(key: string): number;
  optionalNumber(key: string): number | null;
  optionalBoolean(key: string): boolean | null;
  optionalString(key: string): string | null;
  strings(key: string): string[] | null;
  numbers(key: string): number[] | null;
}

/** A key that goes into GGUF files under the architecture's prefix. */
export type GgufKey = readonly [key: string, type: 'u32' | 'f32', value: number];

/** What GGUF files call a family and its parts (llama.cpp's gguf-py, tensor_mapping.py and constants.py). */
export interface GgufForm {
  /** `general.architecture`. */
  architecture: string;
  /** Whether q and k rows are interleaved for rotation of neighbouring pairs, which reading undoes and writing redoes. */
  interleavesHeads: boolean;
  /** Hugging Face's path inside `model.layers.N.` → GGUF's inside `blk.N.`. */
  layerTensors: Readonly<Record<string, string>>;
  /** The keys beyond those that all architectures share. */
  fromKeys: (keys: Keys, common: ModelConfig) => Partial<ModelConfig>;
  toKeys: (config: ModelConfig) => readonly GgufKey[];
  /** Why a config of this family has no GGUF form that computes the same, or null. */
  inexpressible: (config: ModelConfig) => string | null;
}

/** A model family: what it does differently, and what its files call things. One file each. */
export interface Family {
  /** Hugging Face's `model_type` of the text model. */
  modelType: string;
  /** Models that people know it by. */
  examples: string;
  decoder: DecoderTraits;
  /** Values of config.json that transformers fills in where the file leaves them out. */
  defaults: Readonly<Record<string, unknown>>;
  /** Switches for biases in config.json that the family knows. */
  biases: readonly ('attention_bias' | 'mlp_bias')[];
  /** The keys of config.json beyond those that all families share. */
  fromConfig: (keys: Keys, common: ModelConfig) => Partial<ModelConfig>;
  gguf: GgufForm;
}

/** The names that nearly all architectures share. */
export const LAYER_TENSORS = {
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
} as const;

/** Says where a config has biases that an architecture of llama.cpp does not read. */
export function biasesInexpressible({ attention_bias, mlp_bias }: ModelConfig): string | null {
  return attention_bias || mlp_bias ? 'it has biases that llama.cpp does not read' : null;
}

/** Layers that slide where `slides` says so; empty where none does. */
export function layerTypes(layers: number, slides: (layer: number) => boolean): LayerType[] {
  const types = Array.from({ length: layers }, (_, layer): LayerType => (slides(layer) ? 'sliding_attention' : 'full_attention'));
  return types.includes('sliding_attention') ? types : [];
}

/** `layer_types` of a config.json, or where it has none the family's own pattern. */
export function layerTypesOf(keys: Keys, { num_hidden_layers }: ModelConfig, slides: (layer: number) => boolean): LayerType[] {
  const named = keys.strings('layer_types');
  return named ? layerTypes(num_hidden_layers, (layer) => named[layer] === 'sliding_attention') : layerTypes(num_hidden_layers, slides);
}

/** Whether a config's layers slide exactly where a pattern says. */
export function slidesAs(config: ModelConfig, slides: (layer: number) => boolean): boolean {
  return Array.from({ length: config.num_hidden_layers }, (_, layer) => (config.layer_types[layer] === 'sliding_attention') === slides(layer)).every(Boolean);
}
