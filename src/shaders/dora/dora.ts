import type { Graph, GradTarget } from '../../autograd/graph';
import { linearGrid, maxRows, rowLength, specialize, type Tensor } from '../../runtime/program';
import { groupGrid, threadGrid } from '../grid';
import groupSumSource from '../group-sum.wgsl?raw';
import { linear } from '../linear/linear';
import { weightReader } from '../linear/readers';
import { targetBindings } from '../targets';
import { specializeVector, vectorWidth } from '../vector';
import type { FrozenWeight } from '../weight';
import gramSource from './gram.wgsl?raw';
import magnitudePartialsSource from './magnitude-partials.wgsl?raw';
import magnitudeSumSource from './magnitude-sum.wgsl?raw';
import normsSource from './norms.wgsl?raw';
import rowSquaresSource from './row-squares.wgsl?raw';
import scaleRowsSource from './scale-rows.wgsl?raw';

/** Runs of tokens that are summed apart for the magnitude's gradient, then added in order. */
const CHUNKS = 32;
/** Lanes of a workgroup that sum together, and the groups they are summed in. */
const LANES = { GROUP: 64, ROOT: 8 };

/** What a weight's rows are scaled by: magnitude / norm, both [N]; 0 where the norm is 0. */
export interface RowScale {
  magnitude: Tensor;
  norm: Tensor;
}

/**
 * x · magnitude / norm, column by column: x [M, N] as a weight of N rows made it, with those rows scaled (DoRA, Liu et
 * al. 2024, eq. 5). The norm is a constant to the backward pass, as the paper's section 4.3 has it.
 */
export function scaleRows(g: Graph, x: Tensor, { magnitude, norm }: RowScale): Tensor {
  const N = rowLength(x.shape);
  const width = vectorWidth(N);
  const rows = x.shape[0];
  const sizes = { VECTORS: N / width };
  const out = g.tensor('scaled', x.shape);
  const scale = (from: Tensor, to: GradTarget): void => {
    const kernel = specializeVector('dora scale', scaleRowsSource, width, { ...sizes, ADD: to.add });
    g.dispatch(kernel, rows, threadGrid(N / width), { read: [from, magnitude, norm], ...targetBindings(to) }, 2 * N);
  };
  scale(x, { tensor: out, add: false });
  g.record([x, magnitude], [out], () => {
    const dout = g.gradOf(out)!;
    g.accumulate(x, (dx) => scale(dout, dx));
    g.accumulate(magnitude, (dmagnitude) => {
      const partials = g.tensor('d magnitude, partial', [CHUNKS, N]);
      const grid = (count: number) => () => linearGrid(Math.ceil(count / 64));
      const sum = specializeVector('dora magnitude partials', magnitudePartialsSource, width, { ...sizes, CHUNKS });
      g.dispatch(sum, rows, grid((CHUNKS * N) / width), { read: [x, dout], write: [partials] }, 2 * N);
      const finish = specializeVector('dora magnitude sum', magnitudeSumSource, width, { ...sizes, CHUNKS, ADD: dmagnitude.add });
      g.dispatch(finish, rows, grid(N / width), { read: [partials, norm], ...targetBindings(dmagnitude) });
    });
  });
  return out;
}

/** Writes the sums of squares of a stored weight's rows to `squares` [N]. */
export function rowSquares(g: Graph, weight: FrozenWeight, squares: Tensor): void {
  const { columns, type } = weight;
  weight.shards.forEach((shard, i) => {
    const constants = { ...LANES, QUADS: Math.ceil(columns / 4), FIRST: shard.firstRow, OUT: 1 + shard.parts.length };
    const kernel = specialize(`dora row squares ${type}`, groupSumSource + weightReader(type, columns, 1) + rowSquaresSource, constants);
    const target = targetBindings({ tensor: squares, add: i > 0 });
    g.dispatch(kernel, shard.rows, groupGrid(), { read: shard.parts, ...target }, 2 * columns);
  });
}

/**
 * Writes the lengths of the rows of W + scale·B·A to `norms` [N], for A [R, C], B [N, R] and `squares`, the sums of
 * squares of W's rows: ‖W‖² + 2s·B·(A·Wᵀ) + s²·B·(A·Aᵀ)·Bᵀ, so that W itself is read only as a matrix product reads it.
 */
export function adaptedNorms(
  g: Graph,
  weight: FrozenWeight,
  squares: Tensor,
  { A, B, scale }: { A: Tensor; B: Tensor; scale: number },
  norms: Tensor,
): void {
  const R = maxRows(A.shape[0]);
  const C = rowLength(A.shape);
  const N = weight.rows;
  const aw = linear(g, A, weight);
  const width = vectorWidth(C);
  const gram = g.tensor('A Aᵀ', [R, R]);
  const gramKernel = specializeVector('dora gram', groupSumSource + gramSource, width, { ...LANES, VECTORS: C / width, R });
  g.dispatch(gramKernel, R, groupGrid(R), { read: [A], write: [gram] }, 2 * R * C);
  const kernel = specialize('dora norms', normsSource, { R, N, SCALE: { f32: scale } });
  g.dispatch(kernel, N, (count) => linearGrid(Math.ceil(count / 64)), { read: [squares, B, aw, gram], write: [norms] }, 2 * R * R);
}
