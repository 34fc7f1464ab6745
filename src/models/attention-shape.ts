import { layerAttention } from '../core/layout';
import type { ModelConfig } from '../core/model';
import type { AttentionShape } from '../shaders/attention/attention';

/** Heads, scale, window and soft cap of a layer, as the attention kernels take them. */
export function attentionShape(config: ModelConfig, layer: number): AttentionShape {
  return {
    heads: config.num_attention_heads,
    kvHeads: config.num_key_value_heads,
    headDim: config.head_dim,
    scale: 1 / Math.sqrt(config.query_pre_attn_scalar ?? config.head_dim),
    window: layerAttention(config, layer).window,
    softcap: config.attn_logit_softcapping,
  };
}
