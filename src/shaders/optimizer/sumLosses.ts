import type { Graph } from '../../autograd/graph';
import { specialize, type Tensor } from '../../runtime/program';
import groupSumSource from '../group-sum.wgsl?raw';
import source from './sum-losses.wgsl?raw';

/** Adds the sum of losses (f32 [R]) to into[0] and their number to into[1]; into: f32 [4], outside the program. */
export function sumLosses(g: Graph, losses: Tensor, into: Tensor): void {
  const kernel = specialize('sum losses', groupSumSource + source, { GROUP: 256, ROOT: 16 });
  g.dispatch(kernel, losses.shape[0], () => [1, 1, 1], { read: [losses], update: [into] }, 1);
}
