import { isVector, matrixWgsl, wholeRows, type Columns, type QuadReader } from './readers';
import type { Store } from './registers';

/**
 * Matrix products through workgroup memory, for GPUs. As in registers.ts all three are
 *   out[i, j] = SCALE · Σr left(i, r) · right(j, r).
 * 64 invocations make a tile of 8·rows × 8·columns. 16 steps of r of both sides lie in workgroup memory as quads of four
 * r (at most 8 KiB); each invocation makes rows × columns results that are interleaved with its neighbours', so that
 * neighbours read neighbouring quads. Two barriers a tile of r. Needs no feature; runs at WebGPU's default limits.
 */
export interface SharedTile {
  /** 4 or 8 each. */
  rows: number;
  columns: number;
}

const THREADS = 8;
/** Quads of r that a tile is deep. */
const DEPTH = 4;

/** Rows and columns of the result that a workgroup makes. */
export function sharedTileSize(tile: SharedTile): [number, number] {
  return [THREADS * tile.rows, THREADS * tile.columns];
}

const each = (count: number, code: (i: number) => string, separator = '\n'): string =>
  Array.from({ length: count }, (_, i) => code(i)).join(separator);

/**
 * How a side is read. `alongR`: `read(i, quad)` is four r of one i. Else `read(r, quad)` is four i of one r, and blocks of
 * four by four are turned while they are stored. What lies past the end is clamped; the left side has zeros for r past
 * the end, so that what the right side reads there does not matter.
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

/** Statements that bring one side's tile of r into `memory`, from its index `first` on. */
function fill(memory: string, { alongR, read }: Side, size: number, first: string): string {
  if (alongR) {
    return `    for (var b = lane; b < ${size * DEPTH}u; b += ${THREADS * THREADS}u) {
      ${memory}[(b % ${DEPTH}u) * ${size}u + b / ${DEPTH}u] = ${read(`${first} + b / ${DEPTH}u`, `quad + b % ${DEPTH}u`)};
    }`;
  }
  const turned = (e: number): string => `vec4<f32>(${each(4, (q) => `b${q}[${e}]`, ', ')})`;
  return `    for (var b = lane; b < ${(size / 4) * DEPTH}u; b += ${THREADS * THREADS}u) {
      let o = b % ${size / 4}u;
      let d = b / ${size / 4}u;
${each(4, (q) => `      let b${q} = ${read(`(quad + d) * 4u + ${q}u`, `${first} / 4u + o`)};`)}
${each(4, (e) => `      ${memory}[d * ${size}u + o * 4u + ${e}u] = ${turned(e)};`)}
    }`;
}

function kernel(p: Product, prelude = ''): string {
  const [height, width] = sharedTileSize(p.tile);
  const { rows, columns } = p.tile;
  // Chained by fma: four instructions where dot and a sum would be five.
  const product = (i: number, j: number): string =>
    `s${i}_${j} = fma(l${i}.w, r.w, fma(l${i}.z, r.z, fma(l${i}.y, r.y, fma(l${i}.x, r.x, s${i}_${j}))));`;
  const products = (j: number): string => each(rows, (i) => product(i, j), ' ');
  return `// Grid: 8 x 8 invocations a workgroup, row tiles before column tiles, folded over y. Barriers: two a step of the loop over quads.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
${p.bindings}

var<workgroup> left_tile: array<vec4<f32>, ${DEPTH * height}>;
var<workgroup> right_tile: array<vec4<f32>, ${DEPTH * width}>;

@compute @workgroup_size(${THREADS}, ${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>, @builtin(local_invocation_index) lane: u32,
) {
  var index = group.y * groups.x + group.x;
${prelude}  let row_tiles = (${p.rowCount} + ${height - 1}u) / ${height}u;
  if (index >= row_tiles * ${Math.ceil(p.columnCount / width)}u) { return; }
  let row = (index % row_tiles) * ${height}u;
  let column = (index / row_tiles) * ${width}u;
  ${each(rows, (i) => each(columns, (j) => `var s${i}_${j} = 0.0;`, ' '), '\n  ')}
  for (var quad = ${p.firstQuad}; quad < ${p.lastQuad}; quad += ${DEPTH}u) {
${fill('left_tile', p.left, height, 'row')}
${fill('right_tile', p.right, width, 'column')}
    workgroupBarrier();
    let depth = min(${DEPTH}u, ${p.lastQuad} - quad);
    for (var d = 0u; d < depth; d++) {
      ${each(rows, (i) => `let l${i} = left_tile[d * ${height}u + local.y + ${i * THREADS}u];`, '\n      ')}
      ${each(columns, (j) => `{ let r = right_tile[d * ${width}u + local.x + ${j * THREADS}u]; ${products(j)} }`, '\n      ')}
    }
    workgroupBarrier();
  }
  // Stored from an array by a loop of a length that only the device knows: unrolled stores would make most of the code.
  var made: array<f32, ${rows * columns}>;
  ${each(rows, (i) => each(columns, (j) => `made[${i * columns + j}] = s${i}_${j};`, ' '), '\n  ')}
  let first_row = row + local.y;
  let count = ${columns}u * min(${rows}u, (max(first_row, ${p.rowCount}) - first_row + ${THREADS - 1}u) / ${THREADS}u);
  for (var e = 0u; e < count; e++) {
    let i = first_row + (e / ${columns}u) * ${THREADS}u;
    let j = column + local.x + (e % ${columns}u) * ${THREADS}u;
    if (j < ${p.columnCount}u) { ${p.out}[${p.index}] ${p.add ? '+=' : '='} SCALE * made[e]; }
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

/**
 * dw[n, k] = SCALE · Σm dy[m, n] · x[m, k] over one chunk of tokens (a multiple of 4); the chunks' [N, K] sums lie one
 * after the other.
 */
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
