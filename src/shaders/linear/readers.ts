import type { WeightType } from '../../core/model';
import type { Tensor } from '../../runtime/program';

/**
 * WGSL that reads matrices four columns at a time (a quad). A word is what one load brings: one quad of floats or
 * of Q8 quants, two quads of Q4 quants. With `weight` as the name it declares
 *   weight_word(row, word) -> its raw bits          weight_scale(row, block) -> vec2(scale, offset)
 *   weight_quad(raw, half, scale) -> vec4<f32>      weight_index(word, half) -> which quad of the row that is
 *   weight4(row, quad) -> vec4<f32>: all of the above for one quad, for kernels that read here and there.
 */
export interface QuadReader {
  wgsl: string;
  /** Storage bindings it declares, from its first on. */
  bindings: number;
  /** Words of a row. */
  words: number;
  /** Quads in a word. */
  quadsPerWord: 1 | 2;
  /** Words that share a scale, or 0 where there are no scales. */
  wordsPerBlock: number;
}

interface TypeWgsl {
  quadsPerWord: 1 | 2;
  wordsPerBlock: number;
  words: (columns: number) => number;
  /** WGSL types of the parts' elements. */
  elements: readonly string[];
  /** The type of a raw word, which is also the first part's element. */
  raw: string;
  /** Body of weight_quad: `raw`, `half` (0 or 1), `scale`. */
  quad: string;
  /** Body of weight_scale for a row of `columns`: `row`, `block`, buffer `scales`. */
  scale?: (columns: number, scales: string) => string;
}

const quads = (columns: number): number => Math.ceil(columns / 4);

const twoScalesAWord = (columns: number, scales: string): string => `
  let pair = unpack2x16float(${scales}[row * ${Math.ceil(columns / 64)}u + block / 2u]);
  return vec2<f32>(select(pair.x, pair.y, (block & 1u) == 1u), 0.0);`;

const BYTES = 'vec4<u32>(0u, 8u, 16u, 24u)';
/** ggml keeps weights 0…15 of a block in the low and 16…31 in the high nibbles of its 16 bytes. */
const NIBBLES = `vec4<f32>((vec4<u32>(raw) >> (${BYTES} + 4u * half)) & vec4<u32>(15u))`;

const TYPES: Record<WeightType, TypeWgsl> = {
  F32: { quadsPerWord: 1, wordsPerBlock: 0, words: quads, elements: ['vec4<f32>'], raw: 'vec4<f32>', quad: 'return raw;' },
  F16: {
    quadsPerWord: 1,
    wordsPerBlock: 0,
    words: quads,
    elements: ['vec2<u32>'],
    raw: 'vec2<u32>',
    quad: 'return vec4<f32>(unpack2x16float(raw.x), unpack2x16float(raw.y));',
  },
  BF16: {
    quadsPerWord: 1,
    wordsPerBlock: 0,
    words: quads,
    elements: ['vec2<u32>'],
    raw: 'vec2<u32>',
    quad: 'return bitcast<vec4<f32>>(vec4<u32>(raw.x << 16u, raw.x & 0xffff0000u, raw.y << 16u, raw.y & 0xffff0000u));',
  },
  Q8_0: {
    quadsPerWord: 1,
    wordsPerBlock: 8,
    words: quads,
    elements: ['u32', 'u32'],
    raw: 'u32',
    quad: 'return vec4<f32>((vec4<i32>(bitcast<i32>(raw)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u)) * scale.x;',
    scale: twoScalesAWord,
  },
  Q4_0: {
    quadsPerWord: 2,
    wordsPerBlock: 4,
    words: (columns) => columns / 8,
    elements: ['u32', 'u32'],
    raw: 'u32',
    quad: `return (${NIBBLES} - 8.0) * scale.x;`,
    scale: twoScalesAWord,
  },
  Q4_1: {
    quadsPerWord: 2,
    wordsPerBlock: 4,
    words: (columns) => columns / 8,
    elements: ['u32', 'u32'],
    raw: 'u32',
    quad: `return ${NIBBLES} * scale.x + scale.y;`,
    scale: (columns, scales) => `return unpack2x16float(${scales}[row * ${columns / 32}u + block]);`,
  },
};

/** Reads a packed frozen weight of `columns` columns (pack.ts); its parts are bound from `firstBinding` on. */
export function frozenReader(type: WeightType, columns: number, firstBinding: number): QuadReader {
  const { quadsPerWord, wordsPerBlock, words, elements, raw, quad, scale } = TYPES[type];
  const declarations = elements.map(
    (element, i) => `@group(0) @binding(${firstBinding + i}) var<storage, read> weight_${i}: array<${element}>;`,
  );
  const split = quadsPerWord === 2;
  const wgsl = `${declarations.join('\n')}
fn weight_word(row: u32, word: u32) -> ${raw} { return weight_0[row * ${words(columns)}u + word]; }
fn weight_scale(row: u32, block: u32) -> vec2<f32> { ${scale ? scale(columns, 'weight_1') : 'return vec2<f32>(1.0, 0.0);'} }
fn weight_quad(raw: ${raw}, half: u32, scale: vec2<f32>) -> vec4<f32> { ${quad} }
fn weight_index(word: u32, half: u32) -> u32 { return ${split ? '(word / 4u) * 8u + (word & 3u) + 4u * half' : 'word'}; }
fn weight4(row: u32, quad: u32) -> vec4<f32> {
  let word = ${split ? '(quad / 8u) * 4u + (quad & 3u)' : 'quad'};
  return weight_quad(weight_word(row, word), ${split ? '(quad / 4u) & 1u' : '0u'}, weight_scale(row, quad / 8u));
}
`;
  return { wgsl, bindings: elements.length, words: words(columns), quadsPerWord, wordsPerBlock };
}

/**
 * WGSL with the bindings of a frozen weight and \`fn weight4(row: u32, quad: u32) -> vec4<f32>\`, the weights of columns
 * 4·quad … 4·quad+3 of a row. Columns past the last are 0.
 */
export function weightReader(type: WeightType, columns: number, firstBinding: number): string {
  return frozenReader(type, columns, firstBinding).wgsl;
}

/** A range of an f32 matrix's columns. */
export interface Columns {
  /** Values from one row to the next. */
  stride: number;
  first: number;
  count: number;
}

/** All columns of a matrix. */
export function wholeRows(count: number): Columns {
  return { stride: count, first: 0, count };
}

/**
 * WGSL that reads an f32 matrix: `NAME4(row, quad)`, columns past the last as 0, and `NAME1(row, column)`.
 * Quads are one load where rows are whole quads. `row` must exist.
 */
export function matrixWgsl(name: string, binding: number, { stride, first, count }: Columns, vector: boolean): string {
  const declare = (element: string): string => `@group(0) @binding(${binding}) var<storage, read> ${name}: array<${element}>;`;
  if (vector) {
    return `${declare('vec4<f32>')}
fn ${name}4(row: u32, quad: u32) -> vec4<f32> { return ${name}[row * ${stride / 4}u + ${first / 4}u + quad]; }
`;
  }
  const present = `vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(${count}u)`;
  const at = (i: number): string => `${name}[start + min(column + ${i}u, ${count - 1}u)]`;
  return `${declare('f32')}
fn ${name}1(row: u32, column: u32) -> f32 { return ${name}[row * ${stride}u + ${first}u + column]; }
fn ${name}4(row: u32, quad: u32) -> vec4<f32> {
  let start = row * ${stride}u + ${first}u;
  let column = quad * 4u;
  let values = vec4<f32>(${[0, 1, 2, 3].map(at).join(', ')});
  return ${count % 4 === 0 ? 'values' : `select(vec4<f32>(0.0), values, ${present})`};
}
`;
}

/** True where quads of these columns are aligned. */
export function isVector({ stride, first, count }: Columns): boolean {
  return stride % 4 === 0 && first % 4 === 0 && count % 4 === 0;
}

/** The same interface over an f32 tensor: the matrix of a linear layer that is trained. */
export function tensorReader(tensor: Tensor, columns: number, binding: number): QuadReader {
  const wgsl = `${matrixWgsl('weight', binding, wholeRows(columns), columns % 4 === 0)}
fn weight_word(row: u32, word: u32) -> vec4<f32> { return weight4(row, word); }
fn weight_scale(row: u32, block: u32) -> vec2<f32> { return vec2<f32>(1.0, 0.0); }
fn weight_quad(raw: vec4<f32>, half: u32, scale: vec2<f32>) -> vec4<f32> { return raw; }
fn weight_index(word: u32, half: u32) -> u32 { return word; }
`;
  return { wgsl, bindings: 1, words: quads(columns), quadsPerWord: 1, wordsPerBlock: 0 };
}
