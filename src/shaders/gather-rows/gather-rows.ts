import type { Graph } from '../../autograd/graph';
import { maxRows, rowLength, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { fill } from '../optimizer/fill';
import { specializeVector, vectorWidth } from '../vector';
import gatherSource from './gather.wgsl?raw';
import scatterSource from './scatter.wgsl?raw';

/** The rows of x [M, C] that index (u32 [R], each row at most once) names: [R, C]. Backward scatters. */
export function gatherRows(g: Graph, x: Tensor, index: Tensor): Tensor {
  const length = rowLength(x.shape);
  const width = vectorWidth(length);
  const rows = index.shape[0];
  const grid = threadGrid(length / width);
  const constants = { VECTORS: length / width, ROWS: maxRows(x.shape[0]) };
  const out = g.tensor('gathered', [rows, ...x.shape.slice(1)] as unknown as typeof x.shape);
  g.dispatch(specializeVector('gather rows', gatherSource, width, constants), rows, grid, { read: [x, index], write: [out] }, length);
  g.record([x], [out], () => {
    const dout = g.gradOf(out)!;
    g.accumulate(x, (dx) => {
      if (!dx.add) fill(g, dx.tensor, 0);
      const kernel = specializeVector('scatter rows', scatterSource, width, constants);
      g.dispatch(kernel, rows, grid, { read: [dout, index], update: [dx.tensor] }, length);
    });
  });
  return out;
}
