import type { Graph } from '../../autograd/graph';
import { rowLength, specialize, type Tensor } from '../../runtime/program';
import { groupGrid } from '../grid';
import groupMaxSource from '../group-max.wgsl?raw';
import groupSumSource from '../group-sum.wgsl?raw';
import { SOFTCAPPED, softcapConstants } from '../softcap/softcapped';
import source from './cross-entropy.wgsl?raw';

/**
 * The loss of each row: -log softmax(logits)[target], in nats. logits: [R, V]; targets: i32 [R], -1 = not trained on;
 * losses: [R], outside the program. Where logits need a gradient, theirs replaces them: that of scale[0] times the sum
 * of all losses. It is ready at once, for `g.immediately`. With `softcap`, of softcap * tanh(logits / softcap) (Gemma 2).
 */
export function crossEntropy(
  g: Graph,
  logits: Tensor,
  targets: Tensor,
  scale: Tensor,
  losses: Tensor,
  softcap: number | null = null,
): void {
  const V = rowLength(logits.shape);
  const gradient = g.needsGrad(logits);
  const constants = { GROUP: 256, ROOT: 16, V, GRADIENT: gradient, ...softcapConstants(softcap) };
  const kernel = specialize('cross-entropy', groupMaxSource + groupSumSource + SOFTCAPPED + source, constants);
  g.dispatch(kernel, logits.shape[0], groupGrid(), { read: [targets, scale], update: [logits], write: [losses] }, (gradient ? 60 : 30) * V);
  if (gradient) g.seed(logits, logits);
}
