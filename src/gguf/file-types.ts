import { WEIGHT_BLOCKS, type FileType, type ModelConfig, type WeightType } from '../core/model';

/** Matrices of some layers that a mixture stores in a better type than the rest. */
interface Upgrade {
  type: WeightType;
  layers: (layer: number, count: number) => boolean;
}

/** How llama-quantize fills a file: most matrices in `base`, `attn_v` (or the fused `attn_qkv`) and `ffn_down` of some layers in better types. */
interface Mixture {
  /** `general.file_type` (llama.h, llama_ftype). */
  id: number;
  base: WeightType;
  attnV?: Upgrade;
  ffnDown?: Upgrade;
}

/** The first and last eighth of the layers, and every third between. */
const moreBits = (layer: number, count: number): boolean => {
  const eighth = Math.floor(count / 8);
  return layer < eighth || layer >= Math.floor((7 * count) / 8) || (layer - eighth) % 3 === 2;
};
const MEDIUM: Upgrade = { type: 'Q6_K', layers: moreBits };

const MIXTURES: Record<FileType, Mixture> = {
  F32: { id: 0, base: 'F32' },
  F16: { id: 1, base: 'F16' },
  BF16: { id: 32, base: 'BF16' },
  Q8_0: { id: 7, base: 'Q8_0' },
  Q6_K: { id: 18, base: 'Q6_K' },
  Q5_K_M: { id: 17, base: 'Q5_K', attnV: MEDIUM, ffnDown: MEDIUM },
  Q5_K_S: { id: 16, base: 'Q5_K' },
  Q5_1: { id: 9, base: 'Q5_1' },
  Q5_0: { id: 8, base: 'Q5_0' },
  Q4_K_M: { id: 15, base: 'Q4_K', attnV: MEDIUM, ffnDown: MEDIUM },
  Q4_K_S: {
    id: 14,
    base: 'Q4_K',
    attnV: { type: 'Q5_K', layers: (layer) => layer < 4 },
    ffnDown: { type: 'Q5_K', layers: (layer, count) => layer < Math.floor(count / 8) },
  },
  Q4_1: { id: 3, base: 'Q4_1' },
  Q4_0: { id: 2, base: 'Q4_0' },
};

/** `general.file_type`. */
export function fileTypeId(fileType: FileType): number {
  return MIXTURES[fileType].id;
}

/** Types for rows that do not fill blocks of 256. */
const SHORT_ROWS: Partial<Record<WeightType, WeightType>> = { Q4_K: 'Q5_0', Q5_K: 'Q5_1', Q6_K: 'Q8_0' };

/**
 * The type in which llama-quantize stores a tensor (`dims` fastest first) of a model of an architecture, as its llama_tensor_get_type
 * and tensor_allows_quantization choose it for models without experts: F32 for vectors and norms, the type of `output` for a tied
 * `token_embd`, better types for some layers, others where rows do not fill blocks. F16 where rows do not even fill
 * blocks of 32, also where llama-quantize gives up.
 */
export function tensorType(
  fileType: FileType,
  { name, dims }: { name: string; dims: readonly number[] },
  architecture: string,
  config: ModelConfig,
): WeightType {
  const mixture = MIXTURES[fileType];
  const [columns, rows] = [dims[0]!, dims[1] ?? 1];
  if (rows < 2 || !name.endsWith('.weight') || name.endsWith('_norm.weight')) return 'F32';
  if (WEIGHT_BLOCKS[mixture.base].length === 1) return mixture.base;
  const isHead = name === 'output.weight' || (name === 'token_embd.weight' && config.tie_word_embeddings);
  const chosen = isHead ? headType(mixture.base, columns) : layerType(mixture, name, architecture, config);
  const fills = (type: WeightType): boolean => columns % WEIGHT_BLOCKS[type].length === 0;
  if (fills(chosen)) return chosen;
  const short = SHORT_ROWS[chosen];
  return short && fills(short) ? short : 'F16';
}

function headType(base: WeightType, columns: number): WeightType {
  return base === 'Q8_0' || columns % WEIGHT_BLOCKS[base].length !== 0 ? 'Q8_0' : 'Q6_K';
}

function layerType({ base, attnV, ffnDown }: Mixture, name: string, architecture: string, config: ModelConfig): WeightType {
  const parts = /^blk\.(\d+)\.(attn_v|attn_qkv|ffn_down)\.weight$/.exec(name);
  if (!parts) return base;
  const layer = Number(parts[1]);
  const isValue = parts[2] !== 'ffn_down';
  const upgrade = isValue ? attnV : ffnDown;
  const type = upgrade?.layers(layer, config.num_hidden_layers) ? upgrade.type : base;
  return type === 'Q4_K' && isValue && isLike70B(architecture, config) ? 'Q5_K' : type;
}

/** The shape by which llama.cpp knows a 70B model, whose small `attn_v` is worth a better type. */
function isLike70B(architecture: string, { num_hidden_layers, num_attention_heads, num_key_value_heads }: ModelConfig): boolean {
  if (num_hidden_layers !== 80) return false;
  return architecture === 'qwen2' || (architecture === 'llama' && num_attention_heads !== num_key_value_heads);
}
