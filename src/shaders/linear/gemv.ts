import { matrixWgsl, wholeRows, type QuadReader } from './readers';
import type { Store } from './registers';

/**
 * y[m, n] = SCALE · Σk x[m, k] · w[n, k] for a few rows m: what decoding a token does. Reading the weight is all the work,
 * so each of its words is read once and used for every row.
 */
export interface GemvTile {
  /** The most rows of x. */
  rows: number;
  /** Rows of the weight that an invocation (broadcast) or a workgroup (else) takes. */
  outputs: number;
  /** Lanes of the one subgroup in a workgroup where the subgroup hands x round, else 0. */
  broadcast: number;
}

const LANES = 64;

/** Workgroups for a weight of N rows. */
export function gemvGroups(tile: GemvTile, N: number): number {
  return Math.ceil(N / (tile.outputs * Math.max(1, tile.broadcast)));
}

const each = (count: number, code: (i: number) => string, separator = '\n'): string =>
  Array.from({ length: count }, (_, i) => code(i)).join(separator);

/** The kernel for a weight of N rows and K columns. */
export function gemv(tile: GemvTile, weight: QuadReader, N: number, K: number, store: Store): string {
  const bindings = `@group(0) @binding(0) var<uniform> rows: vec4<u32>;
${matrixWgsl('x', 1, wholeRows(K), K % 4 === 0)}
${weight.wgsl}
@group(0) @binding(${2 + weight.bindings}) var<storage, read_write> y: array<f32>;

fn store(m: u32, n: u32, made: f32) {
  if (m < rows.x && n < ${N}u) { y[m * ${store.stride}u + ${store.first}u + n] ${store.add ? '+=' : '='} SCALE * made; }
}`;
  return tile.broadcast ? broadcastGemv(tile, weight, N, K, bindings) : treeGemv(tile, weight, N, bindings);
}

/** Eight quads at a time: x's are loaded once a subgroup, a lane's share each, and handed round; lanes own rows of the weight. */
function broadcastGemv({ rows, outputs, broadcast: lanes }: GemvTile, weight: QuadReader, N: number, K: number, bindings: string): string {
  const quads = Math.ceil(K / 4);
  const wordsPerStep = 8 / weight.quadsPerWord;
  const scaled = weight.wordsPerBlock > 0;
  const own = (m: number, part: number): string =>
    `    let own_${m}_${part} = select(vec4<f32>(0.0), x4(left_${m}, min(quad_${part}, ${quads - 1}u)), quad_${part} < ${quads}u);`;
  const quadOf = (w: number, h: number): number => (weight.quadsPerWord === 2 ? w + 4 * h : w);
  const product = (w: number, h: number): string => {
    const quad = quadOf(w, h);
    return each(
      rows,
      (m) => `      { let l = subgroupBroadcast(own_${m}_${Math.floor(quad / lanes)}, ${quad % lanes}u);
        ${each(outputs, (j) => `s${m}_${j} += dot(l, weight_quad(raw_${j}, word, ${h}u, block_${j}));`, ' ')} }`,
    );
  };
  return `enable subgroups;
// Grid: one subgroup a workgroup, ${outputs} rows of the weight a lane, folded over y. No barriers.
${bindings}

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let n = (group.y * groups.x + group.x) * ${outputs * lanes}u + lane;
${each(outputs, (j) => `  let right_${j} = min(n + ${j * lanes}u, ${N - 1}u);`)}
${each(rows, (m) => `  let left_${m} = min(${m}u, rows.x - 1u);`)}
  ${each(rows, (m) => each(outputs, (j) => `var s${m}_${j} = 0.0;`, ' '), ' ')}
  for (var step = 0u; step < ${Math.ceil(quads / 8)}u; step++) {
${each(8 / lanes, (part) => `    let quad_${part} = step * 8u + ${part * lanes}u + lane;`)}
${each(rows, (m) => each(8 / lanes, (part) => own(m, part)))}
${each(outputs, (j) => `    let block_${j} = weight_block(right_${j}, step);`)}
${each(
  wordsPerStep,
  (w) => `    {
      let word = ${scaled ? `step * ${wordsPerStep}u + ${w}u` : `min(step * ${wordsPerStep}u + ${w}u, ${weight.words - 1}u)`};
      ${each(outputs, (j) => `let raw_${j} = weight_word(right_${j}, word);`, ' ')}
${each(weight.quadsPerWord, (h) => product(w, h))}
    }`,
)}
  }
${each(rows, (m) => each(outputs, (j) => `  store(${m}u, n + ${j * lanes}u, s${m}_${j});`))}
}
`;
}

/** A workgroup for some rows of the weight: 64 lanes stride over the words, and their sums are added as a tree. */
function treeGemv({ rows, outputs }: GemvTile, weight: QuadReader, N: number, bindings: string): string {
  const sums = rows * outputs;
  const product = (m: number): string =>
    `      { let l = x4(min(${m}u, rows.x - 1u), quad); ${each(outputs, (j) => `s${m * outputs + j} += dot(l, r${j});`, ' ')} }`;
  const block = weight.wordsPerBlock ? `word / ${weight.wordsPerBlock}u` : '0u';
  return `// Grid: ${LANES} invocations a workgroup, ${outputs} rows of the weight each, folded over y. Barriers: one a level of the tree.
${bindings}

var<workgroup> partial: array<f32, ${LANES * sums}>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * ${outputs}u;
${each(outputs, (j) => `  let right_${j} = min(n + ${j}u, ${N - 1}u);`)}
  ${each(sums, (i) => `var s${i} = 0.0;`, ' ')}
  for (var word = lane; word < ${weight.words}u; word += ${LANES}u) {
${each(outputs, (j) => `    let raw_${j} = weight_word(right_${j}, word); let block_${j} = weight_block(right_${j}, ${block});`)}
${each(
  weight.quadsPerWord,
  (h) => `    {
      let quad = weight_index(word, ${h}u);
${each(outputs, (j) => `      let r${j} = weight_quad(raw_${j}, word, ${h}u, block_${j});`)}
${each(rows, product)}
    }`,
)}
  }
${each(sums, (i) => `  partial[${i * LANES}u + lane] = s${i};`)}
  for (var half = ${LANES / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      ${each(sums, (i) => `partial[${i * LANES}u + lane] += partial[${i * LANES}u + lane + half];`, '\n      ')}
    }
  }
  workgroupBarrier();
  for (var i = lane; i < ${sums}u; i += ${LANES}u) { store(i / ${outputs}u, n + i % ${outputs}u, partial[i * ${LANES}u]); }
}
`;
}
