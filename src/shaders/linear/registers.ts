import { isVector, matrixWgsl, type Columns, type QuadReader } from './readers';

/**
 * Matrix products held in registers: no shared memory, no barriers. Every invocation makes `rows` × `columns` of the
 * result; a workgroup is `lanesX` × `lanesY` such tiles. On a software adapter loads cost some 30 times an FMA, so
 * there (`broadcast`) a workgroup is one subgroup in a row, loads each left-hand value once, and hands it round.
 */
export interface RegisterTile {
  rows: number;
  /** Columns of the result (nt), or words of the weight's row (nn), or quads (tn), an invocation makes. */
  columns: number;
  lanesX: number;
  lanesY: number;
  broadcast: boolean;
}

/** What a product's result gets: out = scale · product, or out += it. */
export interface Store {
  /** Values from one row of the result to the next, and the first column this dispatch writes. */
  stride: number;
  first: number;
  add: boolean;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const lines = (count: number, line: (i: number) => string): string => range(count).map(line).join('\n');

/** Workgroups for `rows` × `columns` results; the kernels fold the same way. */
export function tileRows(tile: RegisterTile): number {
  return tile.rows * tile.lanesY;
}

/** The start of every kernel here: which tile this workgroup makes, and leave where there is none. */
function prologue(tile: RegisterTile, rowCount: string, columnTiles: string): string {
  const builtins = ['@builtin(workgroup_id) group: vec3<u32>', '@builtin(num_workgroups) groups: vec3<u32>'];
  if (tile.broadcast) builtins.push('@builtin(subgroup_invocation_id) lane: u32');
  else builtins.push('@builtin(local_invocation_id) local: vec3<u32>');
  const lane = tile.broadcast ? '' : '  let lane = local.x;\n';
  return `@compute @workgroup_size(${tile.lanesX}, ${tile.lanesY})
fn main(${builtins.join(', ')}) {
${lane}  let index = group.y * groups.x + group.x;
  let row_tiles = (${rowCount} + ${tileRows(tile) - 1}u) / ${tileRows(tile)}u;
  if (index >= row_tiles * ${columnTiles}) { return; }
  let row = (index % row_tiles) * ${tileRows(tile)}u${tile.broadcast ? '' : ` + local.y * ${tile.rows}u`};
`;
}

/** Loads quads `quad` of the left-hand rows: every row, or with `broadcast` one row a lane. */
function leftRows(tile: RegisterTile, name: string, quad: string): string {
  if (!tile.broadcast) return lines(tile.rows, (i) => `      let l${i} = ${name}4(left_${i}, ${quad});`);
  return lines(tile.rows / tile.lanesX, (g) => `      let own_${g} = ${name}4(left_${g}, ${quad});`);
}

/** Rows past the last read the last: what they make is never stored. */
function leftIndices(tile: RegisterTile, last: string): string {
  if (!tile.broadcast) return lines(tile.rows, (i) => `  let left_${i} = min(row + ${i}u, ${last});`);
  return lines(tile.rows / tile.lanesX, (g) => `  let left_${g} = min(row + ${g * tile.lanesX}u + lane, ${last});`);
}

function leftQuad(tile: RegisterTile, i: number): string {
  return tile.broadcast ? `subgroupBroadcast(own_${Math.floor(i / tile.lanesX)}, ${i % tile.lanesX}u)` : `l${i}`;
}

function head(tile: RegisterTile): string {
  return tile.broadcast ? 'enable subgroups;\n' : '';
}

/**
 * y[m, n] = scale · Σk x[m, k] · w[n, k], or y += it. Both operands are read in quads along k.
 * Grid: ⌈rows / tile rows⌉ × ⌈N / tile columns⌉ workgroups, folded. WGSL constants: SCALE.
 */
export function ntRegisters(tile: RegisterTile, weight: QuadReader, N: number, K: number, store: Store): string {
  const width = tile.columns * tile.lanesX;
  const { quadsPerWord, wordsPerBlock, words } = weight;
  const word = wordsPerBlock ? `block * ${wordsPerBlock}u + w` : 'w';
  const column = (j: number): string => `column + ${j * tile.lanesX}u`;
  const half = (h: number): string => `    {
      let quad = weight_index(word, ${h}u);
${lines(tile.columns, (j) => `      let r${j} = weight_quad(raw_${j}, ${h}u, scale_${j});`)}
${leftRows(tile, 'x', 'quad')}
${lines(
  tile.rows,
  (i) => `      { let l = ${leftQuad(tile, i)}; ${range(tile.columns)
    .map((j) => `s${i}_${j} += dot(l, r${j});`)
    .join(' ')} }`,
)}
    }`;
  const scales = (block: string): string => lines(tile.columns, (j) => `    let scale_${j} = weight_scale(right_${j}, ${block});`);
  return `${head(tile)}// ${ntRegisters.name}: y = SCALE * x * transpose(w), ${tile.rows} x ${tile.columns} an invocation, no barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
${matrixWgsl('x', 1, { stride: K, first: 0, count: K }, K % 4 === 0)}
${weight.wgsl}
@group(0) @binding(${2 + weight.bindings}) var<storage, read_write> y: array<f32>;

${prologue(tile, 'rows.x', `${Math.ceil(N / width)}u`)}
  let column = (index / row_tiles) * ${width}u + lane;
${leftIndices(tile, 'rows.x - 1u')}
${lines(tile.columns, (j) => `  let right_${j} = min(${column(j)}, ${N - 1}u);`)}
${lines(tile.rows, (i) => `  ${range(tile.columns).map((j) => `var s${i}_${j} = 0.0;`).join(' ')}`)}
${wordsPerBlock ? `  for (var block = 0u; block < ${words / wordsPerBlock}u; block++) {\n${scales('block')}` : `  {\n${scales('0u')}`}
  for (var w = 0u; w < ${wordsPerBlock || words}u; w++) {
    let word = ${word};
${lines(tile.columns, (j) => `    let raw_${j} = weight_word(right_${j}, word);`)}
${lines(quadsPerWord, half)}
  }
  }
${lines(
  tile.rows,
  (i) => `  if (row + ${i}u < rows.x) {
    let at = (row + ${i}u) * ${store.stride}u + ${store.first}u;
${lines(tile.columns, (j) => `    if (${column(j)} < ${N}u) { y[at + ${column(j)}] ${store.add ? '+=' : '='} SCALE * s${i}_${j}; }`)}
  }`,
)}
}
`;
}

/**
 * dx[m, k] = scale · Σn dy[m, n] · w[n, k], or dx += it. dy is read in quads along n, w in words along k.
 * Grid: ⌈rows / tile rows⌉ × ⌈words / tile words⌉ workgroups, folded. WGSL constants: SCALE.
 */
export function nnRegisters(tile: RegisterTile, weight: QuadReader, N: number, K: number, dy: Columns, store: Store): string {
  const width = tile.columns * tile.lanesX;
  const { quadsPerWord: halves, wordsPerBlock, words } = weight;
  const block = (c: number): string => (wordsPerBlock ? `word_${c} / ${wordsPerBlock}u` : '0u');
  const step = (q: number): string => `    {
      let right = min(n * 4u + ${q}u, ${N - 1}u);
${lines(
  tile.columns,
  (c) => `      let raw_${c} = weight_word(right, word_${c}); let scale_${c} = weight_scale(right, ${block(c)});
${lines(halves, (h) => `      let r${c}_${h} = weight_quad(raw_${c}, ${h}u, scale_${c});`)}`,
)}
${lines(
  tile.rows,
  (i) => `      ${range(tile.columns)
    .flatMap((c) => range(halves).map((h) => `s${i}_${c}_${h} += q${i}[${q}] * r${c}_${h};`))
    .join(' ')}`,
)}
    }`;
  const storeQuad = (i: number, c: number, h: number): string => `    if (word_${c} == column + ${c * tile.lanesX}u) {
      let k = 4u * weight_index(word_${c}, ${h}u);
${lines(4, (e) => `      if (k + ${e}u < ${K}u) { dx[at + k + ${e}u] ${store.add ? '+=' : '='} SCALE * s${i}_${c}_${h}[${e}]; }`)}
    }`;
  return `${head(tile)}// ${nnRegisters.name}: dx = SCALE * dy * w, ${tile.rows} x ${tile.columns * halves} quads an invocation, no barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
${matrixWgsl('dy', 1, dy, isVector(dy))}
${weight.wgsl}
@group(0) @binding(${2 + weight.bindings}) var<storage, read_write> dx: array<f32>;

${prologue(tile, 'rows.x', `${Math.ceil(words / width)}u`)}
  let column = (index / row_tiles) * ${width}u + lane;
${leftIndices(tile, 'rows.x - 1u')}
${lines(tile.columns, (c) => `  let word_${c} = min(column + ${c * tile.lanesX}u, ${words - 1}u);`)}
${lines(tile.rows, (i) => range(tile.columns).map((c) => range(halves).map((h) => `  var s${i}_${c}_${h} = vec4<f32>(0.0);`).join('')).join(''))}
  for (var n = 0u; n < ${Math.ceil(N / 4)}u; n++) {
${leftRows(tile, 'dy', 'n')}
${lines(tile.rows, (i) => `    let q${i} = ${leftQuad(tile, i)};`)}
${lines(4, step)}
  }
${lines(
  tile.rows,
  (i) => `  if (row + ${i}u < rows.x) {
    let at = (row + ${i}u) * ${store.stride}u;
${range(tile.columns).map((c) => lines(halves, (h) => storeQuad(i, c, h))).join('\n')}
  }`,
)}
}
`;
}

/**
 * dw[n, k] = scale · Σm dy[m, n] · x[m, k] over the rows of one chunk; the chunks' sums lie one after the other.
 * An invocation makes 4·rows × 4·columns values: both operands are read in quads along their rows.
 * Grid: chunks × ⌈N / tile rows⌉ × ⌈K / tile columns⌉ workgroups, folded. WGSL constants: SCALE.
 */
export function tnRegisters(tile: RegisterTile, N: number, K: number, chunk: number, add: boolean): string {
  const quadsN = Math.ceil(N / 4);
  const quadsK = Math.ceil(K / 4);
  const tilesN = Math.ceil(quadsN / (tile.rows * tile.lanesY));
  const tilesK = Math.ceil(quadsK / (tile.columns * tile.lanesX));
  const storeRow = (i: number, e: number): string => `  if (n + ${4 * i + e}u < ${N}u) {
    let at = (chunk * ${N}u + n + ${4 * i + e}u) * ${K}u;
${range(tile.columns)
  .flatMap((c) => range(4).map((f) => {
    const k = `4u * (quad + ${c * tile.lanesX}u) + ${f}u`;
    return `    if (${k} < ${K}u) { dw[at + ${k}] ${add ? '+=' : '='} SCALE * s${i}_${e}_${c}[${f}]; }`;
  }))
  .join('\n')}
  }`;
  return `// ${tnRegisters.name}: dw = SCALE * transpose(dy) * x, ${4 * tile.rows} x ${4 * tile.columns} an invocation, no barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
${matrixWgsl('dy', 1, { stride: N, first: 0, count: N }, N % 4 === 0)}
${matrixWgsl('x', 2, { stride: K, first: 0, count: K }, K % 4 === 0)}
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;

@compute @workgroup_size(${tile.lanesX}, ${tile.lanesY})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let index = group.y * groups.x + group.x;
  let chunk = index / ${tilesN * tilesK}u;
  let first = chunk * ${chunk}u;
  if (first >= rows.x) { return; }
  let last = min(first + ${chunk}u, rows.x);
  let left = (index % ${tilesN}u) * ${tile.rows * tile.lanesY}u + local.y * ${tile.rows}u;
  let n = 4u * left;
  let quad = ((index / ${tilesN}u) % ${tilesK}u) * ${tile.columns * tile.lanesX}u + local.x;
${lines(tile.rows, (i) => `  let left_${i} = min(left + ${i}u, ${quadsN - 1}u);`)}
${lines(tile.columns, (c) => `  let right_${c} = min(quad + ${c * tile.lanesX}u, ${quadsK - 1}u);`)}
${lines(tile.rows, (i) => range(4).map((e) => range(tile.columns).map((c) => `  var s${i}_${e}_${c} = vec4<f32>(0.0);`).join('')).join(''))}
  for (var m = first; m < last; m++) {
${lines(tile.rows, (i) => `    let l${i} = dy4(m, left_${i});`)}
${lines(tile.columns, (c) => `    let r${c} = x4(m, right_${c});`)}
${lines(tile.rows, (i) => range(4).map((e) => range(tile.columns).map((c) => `    s${i}_${e}_${c} += l${i}[${e}] * r${c};`).join('')).join(''))}
  }
${lines(tile.rows, (i) => range(4).map((e) => storeRow(i, e)).join('\n'))}
}
`;
}
