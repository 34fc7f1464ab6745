import { isVector, matrixWgsl, wholeRows, type Columns, type QuadReader } from './readers';

/**
 * Matrix products held in registers: no shared memory, no barriers. All three products of a linear layer are
 *   out[i, j] = scale · Σr left(i, r) · right(j, r),
 * with both sides read as four consecutive r (a quad) and multiplied by `dot`. An invocation makes `rows` rows times
 * some columns; a workgroup is `lanesX` × `lanesY` of them, with the lanes' columns interleaved.
 *
 * On a software adapter a load costs as much as some 20 FMAs. There (`broadcast`) a workgroup is one subgroup in a
 * row: each lane loads every lanesX-th left row, and the subgroup hands the values round. Needs the feature subgroups
 * and a subgroup of just lanesX lanes; the plain form runs at WebGPU's default limits.
 */
export interface RegisterTile {
  rows: number;
  /** Columns an invocation makes (nt), or words of a weight's row (nn), or quads of a row of x (tn). */
  columns: number;
  lanesX: number;
  lanesY: number;
  broadcast: boolean;
}

/** Rows of the result that a workgroup makes. */
export function tileRows(tile: RegisterTile): number {
  return tile.rows * tile.lanesY;
}

/** Workgroups beside each other that cover `columns` of the unit of `tile.columns`. */
export function tileColumns(tile: RegisterTile, columns: number): number {
  return Math.ceil(columns / (tile.columns * tile.lanesX));
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const each = (count: number, code: (i: number) => string, separator = '\n'): string => range(count).map(code).join(separator);

interface Product {
  tile: RegisterTile;
  /** Columns that one invocation makes. */
  width: number;
  bindings: string;
  /** Rows of the result (WGSL), and how many tiles stand beside each other. */
  rowCount: string;
  columnTiles: number;
  /** Statements before the loop over r: which columns this invocation makes. `column` is its first, in the unit of tile.columns. */
  columns: string;
  /** The loop over r: `body` is to be run wherever `quad` is the left side's quad and r0…r(width-1) are set. */
  loop: (body: string) => string;
  /** The left side's quad of a row (WGSL). */
  left: (row: string) => string;
  /** Statements that set `target` (the index in `out`) for row `i` and the invocation's column `j`, and whether that is `inside`. */
  target: string;
  out: string;
  add: boolean;
}

/** The kernel of a product. `group_index` and `chunk` come before everything else for the sake of tn, which sums in chunks. */
function kernel(p: Product, prelude = ''): string {
  const { tile, width } = p;
  const { rows, lanesX, lanesY, broadcast } = tile;
  const lane = broadcast ? '@builtin(subgroup_invocation_id) lane: u32' : '@builtin(local_invocation_id) local: vec3<u32>';
  const owners = broadcast ? rows / lanesX : rows;
  const left = (i: number): string => (broadcast ? `subgroupBroadcast(own_${Math.floor(i / lanesX)}, ${i % lanesX}u)` : `own_${i}`);
  const body = `
      ${each(owners, (g) => `let own_${g} = ${p.left(`left_${g}`)};`, '\n      ')}
      ${each(rows, (i) => `{ let l = ${left(i)}; ${each(width, (j) => `s${i}_${j} += dot(l, r${j});`, ' ')} }`, '\n      ')}`;
  const workgroup = broadcast ? 'one subgroup' : `${lanesX} x ${lanesY} invocations`;
  const features = broadcast ? 'enable subgroups;\n' : '';
  return `${features}// Grid: ${workgroup} a workgroup, row tiles before column tiles, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
${p.bindings}

@compute @workgroup_size(${lanesX}, ${lanesY})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, ${lane}) {
${broadcast ? '' : '  let lane = local.x;'}
  var index = group.y * groups.x + group.x;
${prelude}  let row_tiles = (${p.rowCount} + ${tileRows(tile) - 1}u) / ${tileRows(tile)}u;
  if (index >= row_tiles * ${p.columnTiles}u) { return; }
  let row = (index % row_tiles) * ${tileRows(tile)}u${broadcast ? '' : ` + local.y * ${rows}u`};
  let column = (index / row_tiles) * ${tile.columns * lanesX}u + lane;
  // Rows and columns past the end read the last one; what they make is not stored.
  ${each(owners, (g) => `let left_${g} = min(row + ${broadcast ? `${g * lanesX}u + lane` : `${g}u`}, ${p.rowCount} - 1u);`, '\n  ')}
${p.columns}
  ${each(rows, (i) => each(width, (j) => `var s${i}_${j} = 0.0;`, ' '), '\n  ')}
${p.loop(body)}
  // Stored from an array by a loop of a length that only the device knows: unrolled stores with their guards would make
  // most of the code, and of a software adapter's compile time.
  var made: array<f32, ${rows * width}>;
  ${each(rows, (i) => each(width, (j) => `made[${i * width + j}] = s${i}_${j};`, ' '), '\n  ')}
  let count = ${width}u * min(${rows}u, max(row, ${p.rowCount}) - row);
  for (var e = 0u; e < count; e++) {
    let i = e / ${width}u;
    let j = e % ${width}u;
${p.target}
    if (inside) { ${p.out}[target_index] ${p.add ? '+=' : '='} SCALE * made[e]; }
  }
}
`;
}

/** Where a product's result goes: values from one row to the next, the first column written, and whether it is added. */
export interface Store {
  stride: number;
  first: number;
  add: boolean;
}

/** y[m, n] = SCALE · Σk x[m, k] · w[n, k], for a weight of N rows and K columns. */
export function ntRegisters(tile: RegisterTile, weight: QuadReader, N: number, K: number, store: Store): string {
  const { columns, lanesX } = tile;
  const { quadsPerWord, wordsPerBlock, words } = weight;
  const half = (h: number, body: string): string => `      {
      let quad = weight_index(word, ${h}u);
      ${each(columns, (j) => `let r${j} = weight_quad(raw_${j}, word, ${h}u, block_${j});`, '\n      ')}${body}
      }`;
  const blocks = (block: string): string => each(columns, (j) => `    let block_${j} = weight_block(right_${j}, ${block});`);
  return kernel({
    tile,
    width: columns,
    bindings: `${matrixWgsl('x', 1, wholeRows(K), K % 4 === 0)}
${weight.wgsl}
@group(0) @binding(${2 + weight.bindings}) var<storage, read_write> y: array<f32>;`,
    rowCount: 'rows.x',
    columnTiles: tileColumns(tile, N),
    columns: each(columns, (j) => `  let right_${j} = min(column + ${j * lanesX}u, ${N - 1}u);`),
    loop: (body) => `${wordsPerBlock ? `  for (var block = 0u; block < ${words / wordsPerBlock}u; block++) {` : '  {'}
${blocks(wordsPerBlock ? 'block' : '0u')}
    for (var w = 0u; w < ${wordsPerBlock || words}u; w++) {
      let word = ${wordsPerBlock ? `block * ${wordsPerBlock}u + w` : 'w'};
      ${each(columns, (j) => `let raw_${j} = weight_word(right_${j}, word);`, '\n      ')}
${each(quadsPerWord, (h) => half(h, body))}
    }
  }`,
    left: (row) => `x4(${row}, quad)`,
    target: `    let n = column + j * ${lanesX}u;
    let inside = n < ${N}u;
    let target_index = (row + i) * ${store.stride}u + ${store.first}u + n;`,
    out: 'y',
    add: store.add,
  });
}

/** dx[m, k] = SCALE · Σn dy[m, n] · w[n, k], for a weight of N rows and K columns; \`dy\` says which columns of dy belong to them. */
export function nnRegisters(tile: RegisterTile, weight: QuadReader, N: number, K: number, dy: Columns, store: Store): string {
  const { columns, lanesX } = tile;
  const { quadsPerWord: halves, wordsPerBlock, words } = weight;
  const width = columns * halves * 4;
  const block = (c: number): string => (wordsPerBlock ? `word_${c} / ${wordsPerBlock}u` : '0u');
  const load = (c: number, q: number): string => `      let raw_${c}_${q} = weight_word(n${q}, word_${c});
      let block_${c}_${q} = weight_block(n${q}, ${block(c)});
${each(halves, (h) => `      let t${c}_${h}_${q} = weight_quad(raw_${c}_${q}, word_${c}, ${h}u, block_${c}_${q});`)}`;
  const turn = (j: number): string => {
    const quad = `t${Math.floor(j / (4 * halves))}_${Math.floor(j / 4) % halves}`;
    return `      let r${j} = vec4<f32>(${each(4, (q) => `${quad}_${q}[${j % 4}]`, ', ')});`;
  };
  return kernel({
    tile,
    width,
    bindings: `${matrixWgsl('dy', 1, dy, isVector(dy))}
${weight.wgsl}
@group(0) @binding(${2 + weight.bindings}) var<storage, read_write> dx: array<f32>;`,
    rowCount: 'rows.x',
    columnTiles: tileColumns(tile, words),
    columns: each(columns, (c) => `  let word_${c} = min(column + ${c * lanesX}u, ${words - 1}u);`),
    loop: (body) => `  for (var quad = 0u; quad < ${Math.ceil(N / 4)}u; quad++) {
${each(4, (q) => `      let n${q} = min(quad * 4u + ${q}u, ${N - 1}u);`)}
${each(columns, (c) => each(4, (q) => load(c, q)))}
${each(width, turn)}${body}
  }`,
    left: (row) => `dy4(${row}, quad)`,
    target: `    let word = column + (j / ${4 * halves}u) * ${lanesX}u;
    let k = 4u * weight_index(word, (j / 4u) % ${halves}u) + j % 4u;
    let inside = word < ${words}u && k < ${K}u;
    let target_index = (row + i) * ${store.stride}u + ${store.first}u + k;`,
    out: 'dx',
    add: store.add,
  });
}

/**
 * dw[n, k] = SCALE · Σm dy[m, n] · x[m, k] over the rows of one chunk of tokens; the chunks' [N, K] sums lie one after
 * the other. Columns are quads of x, or single columns where quads of x are not aligned or K is small.
 */
export function tnRegisters(tile: RegisterTile, N: number, K: number, chunk: number, unit: 1 | 4, add: boolean): string {
  const { columns, lanesX } = tile;
  const width = columns * unit;
  const units = Math.ceil(K / unit);
  const tiles = Math.ceil(N / tileRows(tile)) * tileColumns(tile, units);
  const quad = (c: number): string =>
    unit === 1
      ? `      let r${c} = vec4<f32>(${each(4, (q) => `x1(m${q}, right_${c})`, ', ')});`
      : `${each(4, (q) => `      let t${c}_${q} = x4(m${q}, right_${c});`)}
${each(4, (e) => `      let r${c * 4 + e} = vec4<f32>(${each(4, (q) => `t${c}_${q}[${e}]`, ', ')});`)}`;
  return kernel(
    {
      tile,
      width,
      bindings: `${matrixWgsl('dy', 1, wholeRows(N), false)}
${matrixWgsl('x', 2, wholeRows(K), unit === 4)}
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;`,
      rowCount: `${N}u`,
      columnTiles: tileColumns(tile, units),
      columns: each(columns, (c) => `  let right_${c} = min(column + ${c * lanesX}u, ${units - 1}u);`),
      loop: (body) => `  for (var m = first; m < last; m += 4u) {
      let present = vec4<bool>(true, m + 1u < last, m + 2u < last, m + 3u < last);
${each(4, (q) => `      let m${q} = min(m + ${q}u, last - 1u);`)}
${each(columns, quad)}${body}
  }`,
      left: (row) => `select(vec4<f32>(0.0), vec4<f32>(${each(4, (q) => `dy1(m${q}, ${row})`, ', ')}), present)`,
      target: `    let k = (column + (j / ${unit}u) * ${lanesX}u) * ${unit}u + j % ${unit}u;
    let inside = k < ${K}u;
    let target_index = (chunk * ${N}u + row + i) * ${K}u + k;`,
      out: 'dw',
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
