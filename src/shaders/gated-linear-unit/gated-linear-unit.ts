import type { Graph } from '../../autograd/graph';
import { rowLength, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { accumulateAll, targetBindings } from '../targets';
import { specializeVector, vectorWidth } from '../vector';
import backwardSource from './backward.wgsl?raw';
import forwardSource from './forward.wgsl?raw';
import geluTanhSource from './gelu-tanh.wgsl?raw';
import sigmoidSource from './sigmoid.wgsl?raw';
import siluSource from './silu.wgsl?raw';

/** The gate's activation, under the names of `hidden_act`. */
export type GatedActivation = 'silu' | 'gelu_pytorch_tanh';

const ACTIVATIONS: Record<GatedActivation, { op: string; source: string }> = {
  silu: { op: 'swiglu', source: sigmoidSource + siluSource },
  gelu_pytorch_tanh: { op: 'geglu', source: sigmoidSource + geluTanhSource },
};

/** activation(gate) * up, both [M, F] (Shazeer 2020, "GLU variants"; the MLP of Llama and Qwen with silu, of Gemma with GELU). */
export function gatedLinearUnit(g: Graph, gate: Tensor, up: Tensor, activation: GatedActivation): Tensor {
  const { op, source } = ACTIVATIONS[activation];
  const length = rowLength(gate.shape);
  const width = vectorWidth(length);
  const grid = threadGrid(length / width);
  const out = g.tensor(op, gate.shape);
  const forward = specializeVector(op, source + forwardSource, width, { VECTORS: length / width });
  g.dispatch(forward, gate.shape[0], grid, { read: [gate, up], write: [out] }, 30 * length);
  g.record([gate, up], [out], () => {
    const dout = g.gradOf(out)!;
    accumulateAll(g, [gate, up], ([dgate, dup]) => {
      const constants = { VECTORS: length / width, ADD_GATE: dgate!.add, ADD_UP: dup!.add };
      const kernel = specializeVector(`${op} backward`, source + backwardSource, width, constants);
      g.dispatch(kernel, gate.shape[0], grid, { read: [gate, up, dout], ...targetBindings(dgate!, dup!) }, 60 * length);
    });
  });
  return out;
}
