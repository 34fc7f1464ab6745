import { isVector, matrixWgsl, wholeRows, type Columns, type QuadReader } from './readers';
import type { Store } from './registers';

/**
 * Matrix products through workgroup memory, for GPUs. As in registers.ts all three are
 *   out[i, j] = SCALE · Σr left(i, r) · right(j, r).
 * 64 invocations make a tile of 8·rows × 8·columns; 16 steps of r of both sides lie in workgroup memory, r before i and j
 * (at most 8 KiB). Each invocation makes rows × columns of it from quads that are interleaved with its neighbours'.
 * Two barriers a tile of r. Needs no feature; runs at WebGPU's default limits.
 */
export interface SharedTile {
  /** 4 or 8 each. */
  rows: number;
  columns: number;
}

const THREADS = 8;
const DEPTH = 16;

/** Rows and columns of the result that a workgroup makes. */
export function sharedTileSize(tile: SharedTile): [number, number] {
  return [THREADS * tile.rows, THREADS * tile.columns];
}

const each = (count: number, code: (i: number) => string, separator = '\n'): string =>
  Array.from({ length: count }, (_, i) => code(i)).join(separator);

/**
 * How a side is read, four by four. `alongR`: a quad is four r of one i (then the block is turned while it is stored);
 * else four i of one r. `read(line, quad)` is that quad, with everything past the end clamped; the left side has zeros
 * for r past the end, so that what the right side reads there does not matter.
 */
interface Side {
  alongR: boolean;
  read: (line: string, quad: string) => string;
}

interface Product {
  tile: SharedTile;
  bindings: string;
  left: Side;
  right: Side;
  rowCount: string;
  columnCount: number;
  /** Quads of r: the loop's bounds (WGSL). */
  firstQuad: string;
  lastQuad: string;
  out: string;
  /** Where row `i`, column `j` of the result lies (WGSL). */
  index: string;
  add: boolean;
}

/** Statements that bring one side's tile of r into `memory`: blocks of 4 x 4, one or more an invocation. */
function fill(memory: string, { alongR, read }: Side, size: number, first: string): string {
  const blocks = (size / 4) * (DEPTH / 4);
  const line = (q: number): string => (alongR ? `${first} + o * 4u + ${q}u` : `(quad + d) * 4u + ${q}u`);
  const quad = alongR ? 'quad + d' : `${first} / 4u + o`;
  const value = (q: number): string => (alongR ? `vec4<f32>(${each(4, (e) => `b${e}[${q}]`, ', ')})` : `b${q}`);
  return `    for (var b = lane; b < ${blocks}u; b += ${THREADS * THREADS}u) {
      let ${alongR ? 'd' : 'o'} = b % ${alongR ? DEPTH / 4 : size / 4}u;
      let ${alongR ? 'o' : 'd'} = b / ${alongR ? DEPTH / 4 : size / 4}u;
${each(4, (q) => `      let b${q} = ${read(line(q), quad)};`)}
${each(4, (q) => `      ${memory}[(d * 4u + ${q}u) * ${size / 4}u + o] = ${value(q)};`)}
    }`;
}

/** One r of the tile: every invocation's quads of both sides, and their products. */
function step(tile: SharedTile, q: number): string {
  const [height, width] = sharedTileSize(tile);
  const columnQuads = tile.columns / 4;
  const load = (memory: string, size: number, position: string, c: number): string =>
    `${memory}[(d * 4u + ${q}u) * ${size / 4}u + ${position} + ${c * THREADS}u]`;
  return `      {
        ${each(tile.rows / 4, (i) => `let l${i} = ${load('left_tile', height, 'local.y', i)};`, ' ')}
        ${each(columnQuads, (c) => `let r${c} = ${load('right_tile', width, 'local.x', c)};`, ' ')}
        ${each(tile.rows, (i) => each(columnQuads, (c) => `s${i}_${c} += l${i >> 2}[${i & 3}] * r${c};`, ' '), '\n        ')}
      }`;
}

function kernel(p: Product, prelude = ''): string {
  const [height, width] = sharedTileSize(p.tile);
  const columnQuads = p.tile.columns / 4;
  return `// Grid: 8 x 8 invocations a workgroup, row tiles before column tiles, folded over y. Barriers: two a step of the loop over quads.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
${p.bindings}

var<workgroup> left_tile: array<vec4<f32>, ${(DEPTH * height) / 4}>;
var<workgroup> right_tile: array<vec4<f32>, ${(DEPTH * width) / 4}>;

@compute @workgroup_size(${THREADS}, ${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var index = group.y * groups.x + group.x;
${prelude}  let row_tiles = (${p.rowCount} + ${height - 1}u) / ${height}u;
  if (index >= row_tiles * ${Math.ceil(p.columnCount / width)}u) { return; }
  let row = (index % row_tiles) * ${height}u;
  let column = (index / row_tiles) * ${width}u;
  ${each(p.tile.rows, (i) => each(columnQuads, (c) => `var s${i}_${c} = vec4<f32>(0.0);`, ' '), '\n  ')}
  for (var quad = ${p.firstQuad}; quad < ${p.lastQuad}; quad += ${DEPTH / 4}u) {
${fill('left_tile', p.left, height, 'row')}
${fill('right_tile', p.right, width, 'column')}
    workgroupBarrier();
    let depth = min(${DEPTH / 4}u, ${p.lastQuad} - quad);
    for (var d = 0u; d < depth; d++) {
${each(4, (q) => step(p.tile, q))}
    }
    workgroupBarrier();
  }
  // Stored from an array in a loop: unrolled stores with their guards would make most of the code.
  var made: array<vec4<f32>, ${p.tile.rows * columnQuads}>;
  ${each(p.tile.rows, (i) => each(columnQuads, (c) => `made[${i * columnQuads + c}] = s${i}_${c};`, ' '), '\n  ')}
  for (var e = 0u; e < ${p.tile.rows * columnQuads}u; e++) {
    let own = e / ${columnQuads}u;
    let i = row + (local.y + (own / 4u) * ${THREADS}u) * 4u + own % 4u;
    let j = column + (local.x + (e % ${columnQuads}u) * ${THREADS}u) * 4u;
    if (i < ${p.rowCount}) {
      let at = ${p.index};
${each(4, (f) => `      if (j + ${f}u < ${p.columnCount}u) { ${p.out}[at + ${f}u] ${p.add ? '+=' : '='} SCALE * made[e][${f}]; }`)}
    }
  }
}
`;
}

/** A quad that is zero from quad \`end\` on. */
const zeroFrom = (end: string, quad: string, value: string): string => `select(vec4<f32>(0.0), ${value}, ${quad} < ${end})`;

/** y[m, n] = SCALE · Σk x[m, k] · w[n, k], for a weight of N rows and K columns. */
export function ntShared(tile: SharedTile, weight: QuadReader, N: number, K: number, store: Store): string {
  const quads = Math.ceil(K / 4);
  return kernel({
    tile,
    bindings: `${matrixWgsl('x', 1, wholeRows(K), K % 4 === 0)}
${weight.wgsl}
@group(0) @binding(${2 + weight.bindings}) var<storage, read_write> y: array<f32>;`,
    left: { alongR: true, read: (row, quad) => zeroFrom(`${quads}u`, quad, `x4(min(${row}, rows.x - 1u), min(${quad}, ${quads - 1}u))`) },
    right: { alongR: true, read: (row, quad) => `weight4(min(${row}, ${N - 1}u), min(${quad}, ${quads - 1}u))` },
    rowCount: 'rows.x',
    columnCount: N,
    firstQuad: '0u',
    lastQuad: `${quads}u`,
    out: 'y',
    index: `i * ${store.stride}u + ${store.first}u + j`,
    add: store.add,
  });
}

/** dx[m, k] = SCALE · Σn dy[m, n] · w[n, k], for a weight of N rows and K columns; \`dy\` says which columns of dy belong to them. */
export function nnShared(tile: SharedTile, weight: QuadReader, N: number, K: number, dy: Columns, store: Store): string {
  const quads = Math.ceil(N / 4);
  return kernel({
    tile,
    bindings: `${matrixWgsl('dy', 1, dy, isVector(dy))}
${weight.wgsl}
@group(0) @binding(${2 + weight.bindings}) var<storage, read_write> dx: array<f32>;`,
    left: { alongR: true, read: (row, quad) => zeroFrom(`${quads}u`, quad, `dy4(min(${row}, rows.x - 1u), min(${quad}, ${quads - 1}u))`) },
    right: { alongR: false, read: (n, quad) => `weight4(min(${n}, ${N - 1}u), min(${quad}, ${Math.ceil(K / 4) - 1}u))` },
    rowCount: 'rows.x',
    columnCount: K,
    firstQuad: '0u',
    lastQuad: `${quads}u`,
    out: 'dx',
    index: `i * ${store.stride}u + ${store.first}u + j`,
    add: store.add,
  });
}

/** dw[n, k] = SCALE · Σm dy[m, n] · x[m, k] over one chunk of tokens (a multiple of 4); the chunks' [N, K] sums lie one after the other. */
export function tnShared(tile: SharedTile, N: number, K: number, chunk: number, add: boolean): string {
  const [height, width] = sharedTileSize(tile);
  const tiles = Math.ceil(N / height) * Math.ceil(K / width);
  const clamped = (quad: string, length: number): string => `min(${quad}, ${Math.ceil(length / 4) - 1}u)`;
  return kernel(
    {
      tile,
      bindings: `${matrixWgsl('dy', 1, wholeRows(N), N % 4 === 0)}
${matrixWgsl('x', 2, wholeRows(K), K % 4 === 0)}
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;`,
      left: { alongR: false, read: (m, quad) => zeroFrom('last', m, `dy4(min(${m}, last - 1u), ${clamped(quad, N)})`) },
      right: { alongR: false, read: (m, quad) => `x4(min(${m}, last - 1u), ${clamped(quad, K)})` },
      rowCount: `${N}u`,
      columnCount: K,
      firstQuad: 'first / 4u',
      lastQuad: '(last + 3u) / 4u',
      out: 'dw',
      index: `(chunk * ${N}u + i) * ${K}u + j`,
      add,
    },
    `  let chunk = index / ${tiles}u;
  let first = chunk * ${chunk}u;
  if (first >= rows.x) { return; }
  let last = min(first + ${chunk}u, rows.x);
  index = index % ${tiles}u;
`,
  );
}
