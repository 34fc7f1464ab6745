import type { ModelConfig } from '../core/model';

/** Heads as the attention kernels take them. */
export interface AttentionShape {
  heads: number;
  kvHeads: number;
  headDim: number;
  scale: number;
}

export function attentionShape(config: ModelConfig): AttentionShape {
  return {
    heads: config.num_attention_heads,
    kvHeads: config.num_key_value_heads,
    headDim: config.head_dim,
    scale: 1 / Math.sqrt(config.head_dim),
  };
}
