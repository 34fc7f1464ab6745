import type { Graph } from '../../autograd/graph';
import { rowLength, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { accumulateAll, targetBindings } from '../targets';
import { specializeVector, vectorWidth } from '../vector';
import backwardSource from './backward.wgsl?raw';
import forwardSource from './forward.wgsl?raw';
import sigmoidSource from './sigmoid.wgsl?raw';

/** silu(gate) * up, both [M, F] (Shazeer 2020, "GLU variants"; the MLP of Llama and Qwen). */
export function swiGlu(g: Graph, gate: Tensor, up: Tensor): Tensor {
  const length = rowLength(gate.shape);
  const width = vectorWidth(length);
  const grid = threadGrid(length / width);
  const out = g.tensor('swiglu', gate.shape);
  const forward = specializeVector('swiglu', sigmoidSource + forwardSource, width, { VECTORS: length / width });
  g.dispatch(forward, gate.shape[0], grid, { read: [gate, up], write: [out] }, 30 * length);
  g.record([gate, up], [out], () => {
    const dout = g.gradOf(out)!;
    accumulateAll(g, [gate, up], ([dgate, dup]) => {
      const constants = { VECTORS: length / width, ADD_GATE: dgate!.add, ADD_UP: dup!.add };
      const kernel = specializeVector('swiglu backward', sigmoidSource + backwardSource, width, constants);
      g.dispatch(kernel, gate.shape[0], grid, { read: [gate, up, dout], ...targetBindings(dgate!, dup!) }, 60 * length);
    });
  });
  return out;
}
