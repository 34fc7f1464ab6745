import type { ModelConfig } from '../core/model';
import { projectionPath, type Projection } from '../core/model';
import type { Graph } from '../autograd/graph';
import type { Tensor } from '../runtime/program';
import { add } from '../shaders/add/add';
import { embedding } from '../shaders/embedding/embedding';
import { gatedLinearUnit } from '../shaders/gated-linear-unit/gated-linear-unit';
import { rmsNorm } from '../shaders/rms-norm/rms-norm';
import { rope } from '../shaders/rope/rope';
import { project, type LoraPairs } from './lora';
import type { DecoderWeights, LayerWeights } from './weights';

/** How a token sees the others: over the flat batch in training, over a cache when generating. */
export type Attend = (g: Graph, layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

export interface DecoderCall {
  config: ModelConfig;
  weights: DecoderWeights;
  lora: LoraPairs;
  /** u32 `[M]`. */
  ids: Tensor;
  positions: Tensor;
  ropeTable: Tensor;
  attend: Attend;
  /** Keep only each layer's input and run the layer again in the backward pass. */
  recompute: boolean;
}

/** The decoder from token ids to the final normed hidden states `[M, C]` (Touvron et al. 2023). */
export function decoder(g: Graph, call: DecoderCall): Tensor {
  const { config, weights, recompute } = call;
  let x = embedding(g, call.ids, weights.embed);
  weights.layers.forEach((layer, i) => {
    const input = x;
    const run = (): Tensor => decoderLayer(g, call, layer, i, input);
    x = recompute ? g.checkpoint([input], run) : run();
  });
  return rmsNorm(g, x, weights.norm, config.rms_norm_eps);
}

function decoderLayer(g: Graph, call: DecoderCall, weights: LayerWeights, index: number, x: Tensor): Tensor {
  const { config, lora, positions, ropeTable, attend } = call;
  const apply = (projection: Projection, input: Tensor): Tensor =>
    project(g, input, weights[projection], lora.get(`model.layers.${index}.${projectionPath(projection)}`));

  const normed = rmsNorm(g, x, weights.inputNorm, config.rms_norm_eps);
  const q = rope(g, apply('q_proj', normed), positions, ropeTable, config.head_dim);
  const k = rope(g, apply('k_proj', normed), positions, ropeTable, config.head_dim);
  const v = apply('v_proj', normed);
  const attended = add(g, x, apply('o_proj', attend(g, index, q, k, v)));

  const normedAgain = rmsNorm(g, attended, weights.postAttentionNorm, config.rms_norm_eps);
  const hidden = gatedLinearUnit(g, apply('gate_proj', normedAgain), apply('up_proj', normedAgain), 'silu');
  return add(g, attended, apply('down_proj', hidden));
}
