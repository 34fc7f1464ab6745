import type { Graph, GradTarget } from '../../autograd/graph';
import { linearGrid, maxRows, rowLength, specialize, type Tensor } from '../../runtime/program';
import { isFrozen, type Weight } from '../weight';
import { frozenReader, tensorReader, type QuadReader } from './readers';
import sumChunksSource from './sum-chunks.wgsl?raw';
import { nnKernel, ntKernel, tnKernel } from './variants';

/** Some consecutive rows of a weight that one dispatch can bind. */
interface Shard {
  first: number;
  rows: number;
  parts: readonly Tensor[];
  reader: QuadReader;
}

/** The weight as seen by kernels that bind it from binding 2 on. */
interface Matrix {
  rows: number;
  columns: number;
  type: string;
  shards: readonly Shard[];
}

function matrixOf(weight: Weight): Matrix {
  if (isFrozen(weight)) {
    const { rows, columns, type } = weight;
    const reader = frozenReader(type, columns, 2);
    const shards = weight.shards.map((shard) => ({ first: shard.firstRow, rows: shard.rows, parts: shard.parts, reader }));
    return { rows, columns, type, shards };
  }
  const rows = weight.shape[0];
  if (typeof rows !== 'number') throw new Error(`${weight.name} has ${rows.name} rows; a matrix to multiply by has a fixed number.`);
  const columns = rowLength(weight.shape);
  return { rows, columns, type: 'F32', shards: [{ first: 0, rows, parts: [weight], reader: tensorReader(weight, columns, 2) }] };
}

/**
 * y = scale · x · Wᵀ for x [M, K] and W [N, K]: y [M, N], f32. With `into`, y is that tensor [M, N], which the product is
 * added to in place. Backward: dx = scale · dy · W, and dW = scale · dyᵀ · x where W is trained.
 * Throws where the shapes do not fit.
 */
export function linear(g: Graph, x: Tensor, w: Weight, options: { into?: Tensor; scale?: number; name?: string } = {}): Tensor {
  const matrix = matrixOf(w);
  const { scale = 1, into } = options;
  if (rowLength(x.shape) !== matrix.columns) {
    throw new Error(`${w.name} has ${matrix.columns} columns, and ${x.name} has rows of ${rowLength(x.shape)}.`);
  }
  if (into && (rowLength(into.shape) !== matrix.rows || into.shape[0] !== x.shape[0])) {
    throw new Error(`${into.name} has rows of ${rowLength(into.shape)}, and ${w.name} makes rows of ${matrix.rows}.`);
  }
  const y = into ?? g.tensor(options.name ?? `${w.name} out`, [x.shape[0], matrix.rows]);
  forward(g, x, matrix, { tensor: y, add: into !== undefined }, scale);
  const trained = isFrozen(w) ? [] : [w];
  g.record([x, ...trained, ...(into ? [into] : [])], [y], () => {
    const dy = g.gradOf(y);
    if (!dy) return;
    g.accumulate(x, (target) => backwardInput(g, dy, matrix, target, scale));
    for (const tensor of trained) g.accumulate(tensor, (target) => backwardWeight(g, dy, x, matrix, target, scale));
  });
  return y;
}

function forward(g: Graph, x: Tensor, { rows: N, columns: K, type, shards }: Matrix, y: GradTarget, scale: number): void {
  const rows = x.shape[0];
  for (const shard of shards) {
    const store = { stride: N, first: shard.first, add: y.add };
    const { kind, code, groups } = ntKernel(g.traits, maxRows(rows), shard.reader, shard.rows, K, store);
    const kernel = specialize(kind === 'gemv' ? `gemv ${type}` : `matmul nt ${type}`, code, { SCALE: { f32: scale } });
    g.dispatch(kernel, rows, (count) => linearGrid(groups(count)), bindings([x, ...shard.parts], y), 2 * shard.rows * K);
  }
}

function backwardInput(g: Graph, dy: Tensor, { rows: N, columns: K, type, shards }: Matrix, dx: GradTarget, scale: number): void {
  const rows = dy.shape[0];
  shards.forEach((shard, i) => {
    const target = { tensor: dx.tensor, add: dx.add || i > 0 };
    const columns = { stride: N, first: shard.first, count: shard.rows };
    const store = { stride: K, first: 0, add: target.add };
    const { code, groups } = nnKernel(g.traits, maxRows(rows), shard.reader, shard.rows, K, columns, store);
    const kernel = specialize(`matmul nn ${type}`, code, { SCALE: { f32: scale } });
    g.dispatch(kernel, rows, (count) => linearGrid(groups(count)), bindings([dy, ...shard.parts], target), 2 * shard.rows * K);
  });
}

function backwardWeight(g: Graph, dy: Tensor, x: Tensor, { rows: N, columns: K }: Matrix, dw: GradTarget, scale: number): void {
  const rows = x.shape[0];
  const { chunk, code, groups } = tnKernel(g.traits, maxRows(rows), N, K);
  const chunks = Math.ceil(maxRows(rows) / chunk);
  const partial = chunks > 1 ? g.tensor(`${dw.tensor.name} chunks`, [chunks, N * K]) : null;
  const product = partial ? { tensor: partial, add: false } : dw;
  const kernel = specialize('matmul tn F32', code(product.add), { SCALE: { f32: scale } });
  g.dispatch(kernel, rows, (count) => linearGrid(groups(count)), bindings([dy, x], product), 2 * N * K);
  if (!partial) return;
  const sum = specialize('matmul tn sum', sumChunksSource, { LENGTH: N * K, CHUNK: chunk, ADD: dw.add });
  g.dispatch(sum, rows, () => linearGrid(Math.ceil((N * K) / 64)), bindings([partial], dw), (N * K) / chunk);
}

function bindings(read: readonly Tensor[], { tensor, add }: GradTarget): Parameters<Graph['dispatch']>[3] {
  return add ? { read, update: [tensor] } : { read, write: [tensor] };
}
