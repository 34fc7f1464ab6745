import type { Graph } from '../../autograd/graph';
import { linearGrid, rowLength, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import sumPartialsSource from '../sum-partials.wgsl?raw';
import { targetBindings } from '../targets';
import { specializeVector, vectorWidth } from '../vector';
import source from './bias.wgsl?raw';
import columnPartialsSource from './column-partials.wgsl?raw';

/** Runs of rows that are summed apart for the bias's gradient, then added in order. */
const CHUNKS = 32;

/**
 * x + b, in place. x: [M, N]; b: [N], trained or not. Returns x, whose gradient is that of the sum itself; b's are its
 * column sums.
 */
export function bias(g: Graph, x: Tensor, b: Tensor): Tensor {
  const length = rowLength(x.shape);
  const width = vectorWidth(length);
  const VECTORS = length / width;
  const rows = x.shape[0];
  g.dispatch(specializeVector('bias', source, width, { VECTORS }), rows, threadGrid(VECTORS), { read: [b], update: [x] }, length);
  g.record([x, b], [x], () => {
    const dout = g.gradOf(x)!;
    g.accumulate(b, (db) => {
      const partials = g.tensor('d bias, partial', [CHUNKS, length]);
      const grid = (count: number) => () => linearGrid(Math.ceil(count / 64));
      const sum = specializeVector('bias partials', columnPartialsSource, width, { VECTORS, CHUNKS });
      g.dispatch(sum, rows, grid(CHUNKS * VECTORS), { read: [dout], write: [partials] }, length);
      const finish = specializeVector('bias sum', sumPartialsSource, width, { VECTORS, CHUNKS, ADD: db.add });
      g.dispatch(finish, rows, grid(VECTORS), { read: [partials], ...targetBindings(db) });
    });
  });
  return x;
}
