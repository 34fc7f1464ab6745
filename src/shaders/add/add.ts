import type { Graph } from '../../autograd/graph';
import { rowLength, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { specializeVector, vectorWidth } from '../vector';
import source from './add.wgsl?raw';

/** a + b, both [M, C], two different tensors. Backward: both get the sum's gradient itself. */
export function add(g: Graph, a: Tensor, b: Tensor): Tensor {
  const length = rowLength(a.shape);
  const width = vectorWidth(length);
  const out = g.tensor('sum', a.shape);
  const kernel = specializeVector('add', source, width, { VECTORS: length / width });
  g.dispatch(kernel, a.shape[0], threadGrid(length / width), { read: [a, b], write: [out] }, length);
  g.record([a, b], [out], () => {
    const gradient = g.gradOf(out)!;
    g.passGrad(a, gradient);
    g.passGrad(b, gradient);
  });
  return out;
}
