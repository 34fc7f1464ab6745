import type { Graph } from '../../autograd/graph';
import { rowLength, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { targetBindings } from '../targets';
import { specializeVector, vectorWidth } from '../vector';
import source from './scale.wgsl?raw';

/** x * factor, x [M, C] (Gemma multiplies its embeddings by √C). Backward: dy * factor. */
export function scale(g: Graph, x: Tensor, factor: number): Tensor {
  const length = rowLength(x.shape);
  const width = vectorWidth(length);
  const grid = threadGrid(length / width);
  const constants = { VECTORS: length / width, FACTOR: { f32: factor } };
  const out = g.tensor('scaled', x.shape);
  const forward = specializeVector('scale', source, width, { ...constants, ADD: false });
  g.dispatch(forward, x.shape[0], grid, { read: [x], write: [out] }, length);
  g.record([x], [out], () => {
    const dout = g.gradOf(out)!;
    g.accumulate(x, (dx) => {
      const kernel = specializeVector('scale backward', source, width, { ...constants, ADD: dx.add });
      g.dispatch(kernel, x.shape[0], grid, { read: [dout], ...targetBindings(dx) }, length);
    });
  });
  return out;
}
