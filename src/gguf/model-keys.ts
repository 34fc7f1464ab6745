import type { Family } from '../core/families/family';
import type { FileType, ModelConfig } from '../core/model';
import { fileTypeId } from './file-types';
import { f32, text, u32, type GgufMetadata } from './writer';

/** The one divisor where all rope frequencies share it (linear scaling), else null. */
export function linearRopeFactor(config: ModelConfig): number | null {
  const factors = config.rope_long ? null : config.rope_factors;
  const first = factors?.[0];
  return first !== undefined && factors!.every((factor) => factor === first) ? first : null;
}

/** "135M": the model's size as GGUF files spell it. */
function sizeLabel(parameters: number): string {
  if (parameters >= 1e9) return `${(parameters / 1e9).toFixed(1).replace(/\.0$/, '')}B`;
  return parameters >= 1e6 ? `${Math.round(parameters / 1e6)}M` : `${Math.round(parameters / 1e3)}K`;
}

/**
 * A model's metadata but for its tokenizer, with the keys and types that llama.cpp expects.
 * `type`: what llama-quantize calls the file's mixture of weight types.
 */
export function modelMetadata(family: Family, config: ModelConfig, name: string, parameters: number, type: FileType): GgufMetadata {
  const { architecture } = family.gguf;
  const metadata: GgufMetadata = new Map([
    ['general.architecture', text(architecture)],
    ['general.type', text('model')],
    ['general.name', text(name)],
    ['general.size_label', text(sizeLabel(parameters))],
    ['general.file_type', u32(fileTypeId(type))],
    ['general.quantization_version', u32(2)],
    [`${architecture}.context_length`, u32(config.max_position_embeddings)],
    [`${architecture}.embedding_length`, u32(config.hidden_size)],
    [`${architecture}.block_count`, u32(config.num_hidden_layers)],
    [`${architecture}.feed_forward_length`, u32(config.intermediate_size)],
    [`${architecture}.attention.head_count`, u32(config.num_attention_heads)],
    [`${architecture}.attention.head_count_kv`, u32(config.num_key_value_heads)],
    [`${architecture}.attention.key_length`, u32(config.head_dim)],
    [`${architecture}.attention.value_length`, u32(config.head_dim)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, f32(config.rms_norm_eps)],
    [`${architecture}.rope.freq_base`, f32(config.rope_theta)],
  ]);
  for (const [key, type, value] of family.gguf.toKeys(config)) metadata.set(`${architecture}.${key}`, type === 'u32' ? u32(value) : f32(value));
  const linear = linearRopeFactor(config);
  if (linear !== null) {
    metadata.set(`${architecture}.rope.scaling.type`, text('linear'));
    metadata.set(`${architecture}.rope.scaling.factor`, f32(linear));
  }
  return metadata;
}
