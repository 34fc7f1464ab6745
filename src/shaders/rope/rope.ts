import type { Graph } from '../../autograd/graph';
import { maxRows, rowLength, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { specializeVector, vectorWidth } from '../vector';
import source from './rope.wgsl?raw';

/**
 * Rotary position embedding, in place, in Hugging Face's rotate_half layout: value i turns with value i + D/2.
 * x: [M, heads * headDim]. positions: u32 [M]. table: [P, rotary], row p = rotary/2 cosines, then rotary/2 sines
 * of position p's angles; where rotary < headDim the rest of each head stays as it is. Returns x.
 */
export function rope(g: Graph, x: Tensor, positions: Tensor, table: Tensor, headDim: number): Tensor {
  rotate(g, x, positions, table, headDim, false);
  g.record([x], [x], () => rotate(g, g.gradToUpdate(x)!, positions, table, headDim, true));
  return x;
}

function rotate(g: Graph, x: Tensor, positions: Tensor, table: Tensor, headDim: number, inverse: boolean): void {
  const heads = rowLength(x.shape) / headDim;
  const half = rowLength(table.shape) / 2;
  const width = vectorWidth(half, headDim);
  const constants = { HEADS: heads, HEAD: headDim / width, HALF: half / width, POSITIONS: maxRows(table.shape[0]), INVERSE: inverse };
  const kernel = specializeVector(inverse ? 'rope backward' : 'rope', source, width, constants);
  g.dispatch(kernel, x.shape[0], threadGrid((heads * half) / width), { read: [positions, table], update: [x] }, 6 * heads * half);
}
