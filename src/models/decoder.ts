import { familyOf } from '../core/families';
import type { DecoderTraits } from '../core/families/family';
import { layerAttention } from '../core/layout';
import { projectionPath, type ModelConfig, type Projection } from '../core/model';
import type { Graph } from '../autograd/graph';
import type { Tensor } from '../runtime/program';
import { add } from '../shaders/add/add';
import { bias } from '../shaders/bias/bias';
import { embedding } from '../shaders/embedding/embedding';
import { gatedLinearUnit } from '../shaders/gated-linear-unit/gated-linear-unit';
import { rmsNorm } from '../shaders/rms-norm/rms-norm';
import { rope } from '../shaders/rope/rope';
import { scale } from '../shaders/scale/scale';
import { split } from '../shaders/split/split';
import type { Weight } from '../shaders/weight';
import { project, type LoraPairs } from './lora';
import type { RopeTables } from './rope-table';
import type { DecoderWeights, LayerWeights, Norm } from './weights';

/** How a token sees the others: over the flat batch in training, over a cache when generating. */
export type Attend = (g: Graph, layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

/** What a layer needs besides its weights and its input. */
export interface LayerCall {
  config: ModelConfig;
  lora: LoraPairs;
  /** u32 `[M]`. */
  positions: Tensor;
  ropes: RopeTables['tensors'];
  attend: Attend;
}

export interface DecoderCall extends LayerCall {
  weights: DecoderWeights;
  /** u32 `[M]`. */
  ids: Tensor;
  /** Keep only each layer's input and run the layer again in the backward pass. */
  recompute: boolean;
}

/** The decoder from token ids to the final normed hidden states `[M, C]` (Touvron et al. 2023, with its families' turns). */
export function decoder(g: Graph, call: DecoderCall): Tensor {
  const { config, weights, recompute } = call;
  let x = embedded(g, config, call.ids, weights.embed);
  weights.layers.forEach((layer, i) => {
    const input = x;
    const run = (): Tensor => decoderLayer(g, call, layer, i, input);
    x = recompute ? g.checkpoint([input], run) : run();
  });
  return finalNorm(g, config, x, weights.norm);
}

/** Layer `index` over the residual stream x `[M, C]`. */
export function decoderLayer(g: Graph, call: LayerCall, weights: LayerWeights, index: number, x: Tensor): Tensor {
  return new Layer(g, call, weights, index).run(x);
}

/** Embeddings `[M, C]` as the first layer takes them. */
export function embedded(g: Graph, config: ModelConfig, ids: Tensor, weight: Weight): Tensor {
  const x = embedding(g, ids, weight);
  return familyOf(config).decoder.scaled_embedding ? scale(g, x, Math.sqrt(config.hidden_size)) : x;
}

/** The norm between the last layer and the head. */
export function finalNorm(g: Graph, config: ModelConfig, x: Tensor, weight: Tensor): Tensor {
  return rmsNorm(g, x, weight, config.rms_norm_eps, familyOf(config).decoder.norm_offset);
}

/** One layer being recorded. */
class Layer {
  private readonly traits: DecoderTraits;

  constructor(
    private readonly g: Graph,
    private readonly call: LayerCall,
    private readonly weights: LayerWeights,
    private readonly index: number,
  ) {
    this.traits = familyOf(call.config).decoder;
  }

  run(x: Tensor): Tensor {
    const { g } = this;
    const { sandwich_norms } = this.traits;
    const attended = this.attention(this.norm('input_layernorm', x));
    const between = add(g, x, sandwich_norms ? this.norm('post_attention_layernorm', attended) : attended);
    const hidden = this.feedForward(this.norm(sandwich_norms ? 'pre_feedforward_layernorm' : 'post_attention_layernorm', between));
    return add(g, between, sandwich_norms ? this.norm('post_feedforward_layernorm', hidden) : hidden);
  }

  private attention(x: Tensor): Tensor {
    const [q, k, v] = this.queriesKeysValues(x);
    return this.project('o_proj', this.call.attend(this.g, this.index, this.rotate(this.headNorm('q_norm', q)), this.rotate(this.headNorm('k_norm', k)), v));
  }

  private queriesKeysValues(x: Tensor): [Tensor, Tensor, Tensor] {
    if (!this.traits.fused_projections) return [this.project('q_proj', x), this.project('k_proj', x), this.project('v_proj', x)];
    const { num_attention_heads, num_key_value_heads, head_dim } = this.call.config;
    const kv = num_key_value_heads * head_dim;
    const parts = split(this.g, this.project('qkv_proj', x), [num_attention_heads * head_dim, kv, kv]);
    return parts as [Tensor, Tensor, Tensor];
  }

  private feedForward(x: Tensor): Tensor {
    const { g } = this;
    const { activation, fused_projections } = this.traits;
    const { intermediate_size: F } = this.call.config;
    const [gate, up] = fused_projections
      ? split(g, this.project('gate_up_proj', x), [F, F])
      : [this.project('gate_proj', x), this.project('up_proj', x)];
    return this.project('down_proj', gatedLinearUnit(g, gate!, up!, activation));
  }

  private project(projection: Projection, x: Tensor): Tensor {
    const path = `model.layers.${this.index}.${projectionPath(projection)}`;
    const y = project(this.g, x, this.weights.projections[projection]!, this.call.lora.get(path));
    const b = this.weights.biases[projection];
    return b ? bias(this.g, y, b) : y;
  }

  private norm(name: Norm, x: Tensor): Tensor {
    return rmsNorm(this.g, x, this.weights.norms[name]!, this.call.config.rms_norm_eps, this.traits.norm_offset);
  }

  private headNorm(name: 'q_norm' | 'k_norm', x: Tensor): Tensor {
    return this.traits.qk_norm ? this.norm(name, x) : x;
  }

  private rotate(x: Tensor): Tensor {
    const { config, positions, ropes } = this.call;
    const which = layerAttention(config, this.index).rope;
    return which === null ? x : rope(this.g, x, positions, ropes.get(which)!, config.head_dim);
  }
}
