/**
 * What a model is before any GPU sees it: a config, weights that are read row by row in the type
 * they are stored in, and the tokenizer's raw material. The readers (src/gguf, src/safetensors) make one;
 * the engine (src/models) and the exports consume it.
 */

/** Weight types that stay as they are on the GPU. Spelled as GGUF spells them. */
export type WeightType = 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q4_K' | 'Q5_K' | 'Q6_K';

/** Block length in weights and block size in bytes, per type (ggml's layouts). */
export const WEIGHT_BLOCKS: Record<WeightType, { length: number; bytes: number }> = {
  F32: { length: 1, bytes: 4 },
  F16: { length: 1, bytes: 2 },
  BF16: { length: 1, bytes: 2 },
  Q8_0: { length: 32, bytes: 34 },
  Q4_0: { length: 32, bytes: 18 },
  Q4_1: { length: 32, bytes: 20 },
  Q5_0: { length: 32, bytes: 22 },
  Q5_1: { length: 32, bytes: 24 },
  Q4_K: { length: 256, bytes: 144 },
  Q5_K: { length: 256, bytes: 176 },
  Q6_K: { length: 256, bytes: 210 },
};

/** What a GGUF file as a whole can be quantised to: llama-quantize's names, from the largest files to the smallest. */
export const FILE_TYPES = ['F32', 'F16', 'BF16', 'Q8_0', 'Q6_K', 'Q5_K_M', 'Q5_K_S', 'Q5_1', 'Q5_0', 'Q4_K_M', 'Q4_K_S', 'Q4_1', 'Q4_0'] as const;
export type FileType = (typeof FILE_TYPES)[number];

/** Bytes of one row of `columns` weights. */
export function rowBytes(type: WeightType, columns: number): number {
  const block = WEIGHT_BLOCKS[type];
  return (columns / block.length) * block.bytes;
}

/** How far back a layer's attention sees: to the example's beginning, or `sliding_window` tokens. */
export type LayerType = 'full_attention' | 'sliding_attention';

/** The transformer's shape, under the keys of Hugging Face's config.json. What a family fixes is in core/families. */
export interface ModelConfig {
  model_type: string;
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
  vocab_size: number;
  max_position_embeddings: number;
  rms_norm_eps: number;
  rope_theta: number;
  /** The share of each head that rotates, from its first value on (Phi-4 mini: 0.75). */
  partial_rotary_factor: number;
  /**
   * Divisors of the rope frequencies, rotaryDim / 2 of them (Llama 3's rope scaling, linear scaling, long-rope's short
   * factors), or null for plain rope. Frequency i is rope_theta^(-2i/rotaryDim) / rope_factors[i].
   */
  rope_factors: number[] | null;
  /** Phi-3's long-rope: other factors for texts beyond the original length, and what cosines and sines are multiplied by. */
  rope_long: LongRope | null;
  /** The base of sliding layers' own, unscaled rope, where they have one (Gemma 3). */
  rope_local_base_freq: number | null;
  /** A layer with 0 here leaves positions out (SmolLM3); empty: all rotate. */
  no_rope_layers: readonly number[];
  /** One a layer; empty: all see everything. */
  layer_types: readonly LayerType[];
  sliding_window: number | null;
  /** Attention scores are divided by the root of this; null: of head_dim. */
  query_pre_attn_scalar: number | null;
  attn_logit_softcapping: number | null;
  final_logit_softcapping: number | null;
  tie_word_embeddings: boolean;
  /** q, k, v and o add a bias. */
  attention_bias: boolean;
  /** gate, up and down add a bias. */
  mlp_bias: boolean;
  bos_token_id: number | null;
  /** All ids that end a turn or a text. */
  eos_token_id: number[];
}

export interface LongRope {
  factors: number[];
  original_max_position_embeddings: number;
  attention_factor: number;
}

/** The keys that only some families set, as the others have them. */
export const PLAIN_ATTENTION = {
  partial_rotary_factor: 1,
  rope_factors: null,
  rope_long: null,
  rope_local_base_freq: null,
  no_rope_layers: [],
  layer_types: [],
  sliding_window: null,
  query_pre_attn_scalar: null,
  attn_logit_softcapping: null,
  final_logit_softcapping: null,
  attention_bias: false,
  mlp_bias: false,
} as const satisfies Partial<ModelConfig>;

/**
 * One weight in Hugging Face's name and orientation: `[out, in]` for matrices, `[n]` for vectors
 * (then one row). A GGUF file's q/k row permutation is already undone.
 */
export interface StoredTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: WeightType;
  /** The bytes of `count` whole rows from row `first`, in the type's own block layout. */
  readRows(first: number, count: number): Promise<Uint8Array>;
}

/** A tokenizer as its file gives it; src/data/tokenizer builds the working one. */
export type TokenizerSource =
  | { kind: 'huggingface'; tokenizer: object; config: object }
  | { kind: 'gguf'; keys: GgufTokenizerKeys };

/** The `tokenizer.ggml.*` keys of a GGUF file. */
export interface GgufTokenizerKeys {
  model: string;
  pre: string | null;
  tokens: string[];
  token_type: number[] | null;
  scores: number[] | null;
  merges: string[] | null;
  bos_token_id: number | null;
  eos_token_id: number | null;
  eot_token_id: number | null;
  unknown_token_id: number | null;
  padding_token_id: number | null;
  add_bos_token: boolean | null;
  add_eos_token: boolean | null;
  add_space_prefix: boolean | null;
  /** Special tokens take the white space behind them: what llama.cpp does with a model that calls itself Phi-3. */
  special_strip_right?: boolean;
}

export interface ModelSource {
  /** What people call it: a hub id, general.name, or the folder's name. */
  readonly name: string;
  readonly format: 'gguf' | 'safetensors';
  readonly config: ModelConfig;
  /** By Hugging Face name; `lm_head.weight` is absent where the head is tied. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly tokenizer: TokenizerSource | null;
  readonly chatTemplate: string | null;
  /** Where the text model lies inside the multimodal one that the files hold, as transformers names its modules; absent where they hold a text model. */
  readonly textPath?: string;
  /** Total bytes of the files. */
  readonly bytes: number;
  /** The files themselves, in name order: for hashing and for telling the user. */
  readonly files: readonly import('./bytes').ByteSource[];
}

/** The projections that a LoRA can adapt, in the decoder's order; `projectionsOf` says which of them a model has. */
export const PROJECTIONS = [
  'q_proj',
  'k_proj',
  'v_proj',
  'qkv_proj',
  'o_proj',
  'gate_proj',
  'up_proj',
  'gate_up_proj',
  'down_proj',
] as const;
export type Projection = (typeof PROJECTIONS)[number];

/** `self_attn.q_proj` or `mlp.gate_proj`: the projection's path inside its layer. */
export function projectionPath(projection: Projection): string {
  return ['gate_proj', 'up_proj', 'gate_up_proj', 'down_proj'].includes(projection) ? `mlp.${projection}` : `self_attn.${projection}`;
}

/** `[out, in]` of a projection under a config. */
export function projectionShape(config: ModelConfig, projection: Projection): [number, number] {
  const { hidden_size, intermediate_size } = config;
  const q = config.num_attention_heads * config.head_dim;
  const kv = config.num_key_value_heads * config.head_dim;
  const shapes: Record<Projection, [number, number]> = {
    q_proj: [q, hidden_size],
    k_proj: [kv, hidden_size],
    v_proj: [kv, hidden_size],
    qkv_proj: [q + 2 * kv, hidden_size],
    o_proj: [hidden_size, q],
    gate_proj: [intermediate_size, hidden_size],
    up_proj: [intermediate_size, hidden_size],
    gate_up_proj: [2 * intermediate_size, hidden_size],
    down_proj: [hidden_size, intermediate_size],
  };
  return shapes[projection];
}
