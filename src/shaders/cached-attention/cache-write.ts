import type { Graph } from '../../autograd/graph';
import { maxRows, rowLength, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { specializeVector, vectorWidth } from '../vector';
import source from './cache-write.wgsl?raw';

/** Puts rows of x [M, K * D] into a cache [S, K * D] outside the program, at positions (u32 [M], below S). */
export function cacheWrite(g: Graph, x: Tensor, cache: Tensor, positions: Tensor): void {
  const length = rowLength(x.shape);
  const width = vectorWidth(length);
  const kernel = specializeVector('cache write', source, width, { VECTORS: length / width, S: maxRows(cache.shape[0]) });
  g.dispatch(kernel, x.shape[0], threadGrid(length / width), { read: [x, positions], update: [cache] }, length);
}
