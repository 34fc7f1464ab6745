import type { Graph, GradTarget } from '../../autograd/graph';
import { linearGrid, maxRows, rowLength, specialize, type Tensor } from '../../runtime/program';
import { isFrozen, type Weight } from '../weight';
import { frozenReader, tensorReader, type QuadReader } from './readers';
import { nnRegisters, ntRegisters, tileColumns, tileRows, tnRegisters } from './registers';
import sumChunksSource from './sum-chunks.wgsl?raw';
import { nnTile, ntTile, tnChunk, tnTile } from './variants';

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
    return { rows, columns, type, shards: weight.shards.map((shard) => ({ first: shard.firstRow, rows: shard.rows, parts: shard.parts, reader })) };
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
  for (const shard of shards) {
    const tile = ntTile(g.traits, maxRows(x.shape[0]), shard.rows, K, shard.reader);
    const source = ntRegisters(tile, shard.reader, shard.rows, K, { stride: N, first: shard.first, add: y.add });
    const kernel = specialize(`matmul nt ${type}`, source, { SCALE: { f32: scale } });
    const columnTiles = tileColumns(tile, shard.rows);
    const grid = (rows: number): [number, number, number] => linearGrid(Math.ceil(rows / tileRows(tile)) * columnTiles);
    g.dispatch(kernel, x.shape[0], grid, { read: [x, ...shard.parts], [y.add ? 'update' : 'write']: [y.tensor] }, 2 * shard.rows * K);
  }
}

function backwardInput(g: Graph, dy: Tensor, { rows: N, columns: K, type, shards }: Matrix, dx: GradTarget, scale: number): void {
  shards.forEach((shard, i) => {
    const add = dx.add || i > 0;
    const tile = nnTile(g.traits, maxRows(dy.shape[0]), shard.rows, K, shard.reader);
    const columns = { stride: N, first: shard.first, count: shard.rows };
    const source = nnRegisters(tile, shard.reader, shard.rows, K, columns, { stride: K, first: 0, add });
    const kernel = specialize(`matmul nn ${type}`, source, { SCALE: { f32: scale } });
    const columnTiles = tileColumns(tile, shard.reader.words);
    const grid = (rows: number): [number, number, number] => linearGrid(Math.ceil(rows / tileRows(tile)) * columnTiles);
    g.dispatch(kernel, dy.shape[0], grid, { read: [dy, ...shard.parts], [add ? 'update' : 'write']: [dx.tensor] }, 2 * shard.rows * K);
  });
}

function backwardWeight(g: Graph, dy: Tensor, x: Tensor, { rows: N, columns: K }: Matrix, dw: GradTarget, scale: number): void {
  const rows = x.shape[0];
  const { tile, unit } = tnTile(g.traits, maxRows(rows), N, K);
  const tiles = Math.ceil(N / tileRows(tile)) * tileColumns(tile, Math.ceil(K / unit));
  const chunk = tnChunk(g.traits, maxRows(rows), tiles);
  const chunks = Math.ceil(maxRows(rows) / chunk);
  const grid = (count: number): [number, number, number] => linearGrid(tiles * Math.ceil(count / chunk));
  const product = (add: boolean): ReturnType<typeof specialize> =>
    specialize('matmul tn F32', tnRegisters(tile, N, K, chunk, unit, add), { SCALE: { f32: scale } });
  if (chunks === 1) {
    g.dispatch(product(dw.add), rows, grid, { read: [dy, x], [dw.add ? 'update' : 'write']: [dw.tensor] }, 2 * N * K);
    return;
  }
  const partial = g.tensor(`${dw.tensor.name} chunks`, [chunks, N * K]);
  g.dispatch(product(false), rows, grid, { read: [dy, x], write: [partial] }, 2 * N * K);
  const sum = specialize('matmul tn sum', sumChunksSource, { LENGTH: N * K, CHUNK: chunk, ADD: dw.add });
  const sumGrid = (): [number, number, number] => linearGrid(Math.ceil((N * K) / 64));
  g.dispatch(sum, rows, sumGrid, { read: [partial], [dw.add ? 'update' : 'write']: [dw.tensor] }, (N * K) / chunk);
}
