import type { Graph } from '../../autograd/graph';
import type { Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { specializeVector, vectorWidth } from '../vector';
import fillSource from './fill.wgsl?raw';
import { flat } from './flat';

/** Sets every value of an f32 tensor's current rows. */
export function fill(g: Graph, tensor: Tensor, value: number): void {
  const { rows, length } = flat(tensor);
  const width = vectorWidth(length);
  const kernel = specializeVector('fill', fillSource, width, { VECTORS: length / width, VALUE: { f32: value } });
  g.dispatch(kernel, rows, threadGrid(length / width), { write: [tensor] }, length);
}
