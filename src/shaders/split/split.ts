import type { Graph } from '../../autograd/graph';
import { rowLength, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { fill } from '../optimizer/fill';
import { vectorWidth, specializeVector } from '../vector';
import source from './copy-columns.wgsl?raw';

/** Columns of a tensor: where they begin. */
interface Columns {
  tensor: Tensor;
  first: number;
}

/**
 * x's columns as tensors of their own: [M, W_i] each, from left to right; x: [M, sum of widths] (Phi-3's fused projections).
 * Backward: each part's gradient goes to its columns; a part that none arrived for counts as zero.
 */
export function split(g: Graph, x: Tensor, widths: readonly number[]): Tensor[] {
  const total = widths.reduce((a, b) => a + b, 0);
  if (total !== rowLength(x.shape)) {
    throw new Error(`Splitting ${x.name} into ${widths.join(' + ')} columns needs ${total} of them; it has ${rowLength(x.shape)}.`);
  }
  let first = 0;
  const parts = widths.map((width, i) => {
    const part = { tensor: g.tensor(`${x.name}, part ${i}`, [x.shape[0], width]), first };
    first += width;
    copyColumns(g, { tensor: x, first: part.first }, { tensor: part.tensor, first: 0 }, width, 'write');
    return part;
  });
  const tensors = parts.map(({ tensor }) => tensor);
  g.record([x], tensors, () => {
    g.accumulate(x, (dx) => {
      const gradients = tensors.map((tensor) => g.gradOf(tensor));
      const complete = gradients.every((gradient) => gradient !== null);
      if (!dx.add && !complete) fill(g, dx.tensor, 0);
      gradients.forEach((gradient, i) => {
        if (!gradient) return;
        const access = dx.add ? 'add' : complete && i === 0 ? 'write' : 'update';
        copyColumns(g, { tensor: gradient, first: 0 }, { tensor: dx.tensor, first: parts[i]!.first }, widths[i]!, access);
      });
    });
  });
  return tensors;
}

/** `write`: nothing of `to` is worth keeping; `update`: other columns of it are; `add`: these too. */
function copyColumns(g: Graph, from: Columns, to: Columns, count: number, access: 'write' | 'update' | 'add'): void {
  const lengths = [rowLength(from.tensor.shape), rowLength(to.tensor.shape)] as const;
  const width = vectorWidth(...lengths, from.first, to.first, count);
  const kernel = specializeVector('copy columns', source, width, {
    COUNT: count / width,
    FROM: from.first / width,
    FROM_VECTORS: lengths[0] / width,
    TO: to.first / width,
    TO_VECTORS: lengths[1] / width,
    ADD: access === 'add',
  });
  const bindings = { read: [from.tensor], [access === 'write' ? 'write' : 'update']: [to.tensor] };
  g.dispatch(kernel, from.tensor.shape[0], threadGrid(count / width), bindings, count);
}
