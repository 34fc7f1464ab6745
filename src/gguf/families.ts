/**
 * What GGUF calls the parts of each model family, as data: adding a family means adding an entry.
 * Tensor names as in llama.cpp's gguf-py (tensor_mapping.py), without their `.weight` ending.
 */
export interface GgufFamily {
  /** GGUF's `general.architecture`. */
  architecture: string;
  /** Hugging Face's `model_type`. */
  modelType: string;
  /**
   * Whether the converter interleaves the two halves of each head's rows in q and k (rotary embedding on
   * neighbouring pairs), which reading undoes and writing redoes.
   */
  interleavesHeads: boolean;
  /** Hugging Face's path → GGUF's, outside the layers. */
  tensors: Readonly<Record<string, string>>;
  /** Hugging Face's path inside `model.layers.N.` → GGUF's inside `blk.N.`. */
  layerTensors: Readonly<Record<string, string>>;
}

export const LLAMA: GgufFamily = {
  architecture: 'llama',
  modelType: 'llama',
  interleavesHeads: true,
  tensors: {
    'model.embed_tokens': 'token_embd',
    'model.norm': 'output_norm',
    lm_head: 'output',
  },
  layerTensors: {
    input_layernorm: 'attn_norm',
    'self_attn.q_proj': 'attn_q',
    'self_attn.k_proj': 'attn_k',
    'self_attn.v_proj': 'attn_v',
    'self_attn.o_proj': 'attn_output',
    post_attention_layernorm: 'ffn_norm',
    'mlp.gate_proj': 'ffn_gate',
    'mlp.up_proj': 'ffn_up',
    'mlp.down_proj': 'ffn_down',
  },
};

export const GGUF_FAMILIES: readonly GgufFamily[] = [LLAMA];

/** GGUF's name of a Hugging Face weight (`model.layers.3.self_attn.q_proj.weight`), or null where the family has none. */
export function ggufName(family: GgufFamily, name: string): string | null {
  if (!name.endsWith('.weight')) return null;
  const path = name.slice(0, -'.weight'.length);
  const layer = /^model\.layers\.(\d+)\.(.+)$/.exec(path);
  if (layer) {
    const inner = family.layerTensors[layer[2]!];
    return inner ? `blk.${layer[1]}.${inner}.weight` : null;
  }
  const outer = family.tensors[path];
  return outer ? `${outer}.weight` : null;
}

/**
 * The row of GGUF's interleaved q or k matrix that holds row `row` of Hugging Face's:
 * h·D + j·D/2 + i ↔ h·D + 2i + j, with head size D and halves j = 0, 1.
 */
export function interleavedRow(row: number, headDim: number): number {
  const within = row % headDim;
  const half = headDim / 2;
  const j = within >= half ? 1 : 0;
  return row - within + 2 * (within - j * half) + j;
}

/** Whether a Hugging Face weight's rows are interleaved in GGUF files of a family. */
export function isInterleaved(family: GgufFamily, name: string): boolean {
  return family.interleavesHeads && /\.self_attn\.[qk]_proj\./.test(name);
}
