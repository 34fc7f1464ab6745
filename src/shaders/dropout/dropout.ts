import type { Graph, GradTarget } from '../../autograd/graph';
import { rowLength, specialize, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { targetBindings } from '../targets';
import source from './dropout.wgsl?raw';

/**
 * Drops each value of x with probability p and scales the rest by 1 / (1 - p). key: u32 [4], the seed's two words, step and
 * micro-batch; salt: one number a place in the model. The same key and salt drop the same values, in the backward pass too.
 */
export function dropout(g: Graph, x: Tensor, key: Tensor, salt: number, p: number): Tensor {
  return p > 0 ? masked(g, x, key, salt, p, { kept: 1 / (1 - p), lost: 0 }) : x;
}

/** x - dropout(x): what dropout with the same key, salt and p took away. */
export function dropped(g: Graph, x: Tensor, key: Tensor, salt: number, p: number): Tensor {
  return masked(g, x, key, salt, p, { kept: -p / (1 - p), lost: 1 });
}

function masked(g: Graph, x: Tensor, key: Tensor, salt: number, p: number, { kept, lost }: { kept: number; lost: number }): Tensor {
  const length = rowLength(x.shape);
  const out = g.tensor('dropped', x.shape);
  const emit = (from: Tensor, to: GradTarget): void => {
    const constants = { LENGTH: length, SALT: salt >>> 0, THRESHOLD: dropThreshold(p), KEPT: { f32: kept }, LOST: { f32: lost }, ADD: to.add };
    g.dispatch(specialize('dropout', source, constants), x.shape[0], threadGrid(length), { read: [from, key], ...targetBindings(to) }, 20 * length);
  };
  emit(x, { tensor: out, add: false });
  g.record([x], [out], () => g.accumulate(x, (dx) => emit(g.gradOf(out)!, dx)));
  return out;
}

/** Hashes below this are dropped: p of all 32-bit numbers. */
export function dropThreshold(p: number): number {
  return Math.min(Math.round(p * 2 ** 32), 2 ** 32 - 1);
}
