import type { Graph } from '../../autograd/graph';
import { rowLength, specialize, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import backwardSource from './backward.wgsl?raw';
import forwardSource from './forward.wgsl?raw';
import { SOFTCAPPED, softcapConstants } from './softcapped';

/**
 * cap * tanh(x / cap), in place (Gemma 2, the logits of an answer; the loss caps its own logits). x: [M, C]. Returns x.
 * Backward: dy * (1 - (y / cap)²), in place too.
 */
export function softcap(g: Graph, x: Tensor, cap: number): Tensor {
  const length = rowLength(x.shape);
  const grid = threadGrid(length);
  const forward = specialize('softcap', SOFTCAPPED + forwardSource, { ...softcapConstants(cap), LENGTH: length });
  g.dispatch(forward, x.shape[0], grid, { update: [x] }, 20 * length);
  g.record([x], [x], () => {
    const kernel = specialize('softcap backward', backwardSource, { CAP: { f32: cap }, LENGTH: length });
    g.dispatch(kernel, x.shape[0], grid, { read: [x], update: [g.gradToUpdate(x)!] }, 5 * length);
  });
  return x;
}
