import type { WeightType } from '../../core/model';
import type { Tensor } from '../../runtime/program';

/**
 * WGSL that reads matrices four columns at a time (a quad). A word is what one load brings: one quad of floats or of Q8
 * quants, two quads (halves) of nibbles. All scales are looked up for blocks of 32 weights, together with the quants'
 * high bits where they have more than four. With `weight` as the name it declares
 *   weight_word(row, word) -> its raw bits                   weight_block(row, block) -> WeightBlock
 *   weight_quad(raw, word, half, block) -> vec4<f32>         weight_index(word, half) -> which quad of the row that is
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
  /** Words that share a WeightBlock, or 0 where there is nothing to share. */
  wordsPerBlock: number;
}

/** Scale and offset of 32 weights, or the scales of their two halves; high bits as they lie in the packed groups. */
const BLOCK_WGSL = `struct WeightBlock { scale: vec2<f32>, high: vec2<u32> }
// Two finite float16 numbers of a word. unpack2x16float may take subnormals for zero, and blocks of small weights have such scales.
fn halves(word: u32) -> vec2<f32> {
  let bits = vec2<u32>(word & 0xffffu, word >> 16u);
  let magnitude = bits & vec2<u32>(0x7fffu);
  let normal = bitcast<vec2<f32>>((magnitude << vec2<u32>(13u)) + vec2<u32>(112u << 23u));
  let value = select(normal, vec2<f32>(magnitude) * 0x1p-24, magnitude < vec2<u32>(1024u));
  return select(value, -value, bits >= vec2<u32>(0x8000u));
}`;
const NO_BLOCK_WGSL = `${BLOCK_WGSL}
fn weight_block(row: u32, block: u32) -> WeightBlock { return WeightBlock(vec2<f32>(1.0, 0.0), vec2<u32>(0u)); }`;

interface TypeWgsl {
  quadsPerWord: 1 | 2;
  /** The type of a raw word, which is also the first part's element. The other parts are words. */
  raw: string;
  /** Body of weight_quad: `raw`, `word`, `half` (0 or 1), `block`. */
  quad: string;
  /** Absent where weights have no scales. */
  blocks?: {
    /** Elements of the first part that a block of 32 takes: its words, then its high bits. */
    stride: number;
    /** Parts behind the first. */
    parts: number;
    /** Body of weight_block: `row`, `block`, and `group`, where the block begins in weight_0. */
    body: (columns: number) => string;
  };
}

const quads = (columns: number): number => Math.ceil(columns / 4);

/** Scale `index` of the row, of `count` that lie two a word in a part. */
const twoScalesAWord = (part: string, index: string, count: number): string => `
  let pair = halves(${part}[row * ${Math.ceil(count / 2)}u + (${index}) / 2u]);
  let scale = select(pair.x, pair.y, ((${index}) & 1u) == 1u);`;

const scaled =
  (high: string) =>
  (columns: number): string => `${twoScalesAWord('weight_1', 'block', columns / 32)}
  return WeightBlock(vec2<f32>(scale, 0.0), ${high});`;

const scaledAndOffset =
  (high: string) =>
  (columns: number): string => `return WeightBlock(halves(weight_1[row * ${columns / 32}u + block]), ${high});`;

/** Q4_K and Q5_K: values are d·scale·quant − dmin·minimum; pack.ts says how scales and minima lie. */
const scaledByBits =
  (high: string) =>
  (columns: number): string => `
  let at = row * ${columns / 64}u + (block / 8u) * 4u;
  let d = halves(weight_1[at]);
  let low = weight_1[at + 1u + ((block >> 2u) & 1u)] >> (8u * (block & 3u));
  let minimum = ((low >> 6u) & 3u) | (((weight_1[at + 3u] >> (4u * (block & 7u))) & 15u) << 2u);
  return WeightBlock(vec2<f32>(d.x * f32(low & 63u), -d.y * f32(minimum)), ${high});`;

/** Q6_K: values are d·scale·(quant − 32), with a scale of one signed byte for each 16 weights. */
const scaledByBytes = (columns: number): string => `${twoScalesAWord('weight_2', 'block / 8u', columns / 256)}
  let bytes = bitcast<i32>(weight_1[row * ${columns / 64}u + block / 2u] >> (16u * (block & 1u)));
  let scales = (vec2<i32>(bytes) << vec2<u32>(24u, 16u)) >> vec2<u32>(24u);
  return WeightBlock(scale * vec2<f32>(scales), vec2<u32>(weight_0[group + 4u], weight_0[group + 5u]));`;

const NO_BITS = 'vec2<u32>(0u)';
const FIFTH_BITS = 'vec2<u32>(weight_0[group + 4u], 0u)';

const BYTES = 'vec4<u32>(0u, 8u, 16u, 24u)';
/** Groups keep weights 0…15 in the low and 16…31 in the high nibbles of 16 bytes, as ggml's blocks of 32 do. */
const NIBBLES = `vec4<f32>((vec4<u32>(raw) >> (${BYTES} + 4u * half)) & vec4<u32>(15u))`;
const withHighBits = (bits: string): string => `
  let quants = ((raw >> (4u * half)) & 0x0f0f0f0fu) | ((${bits}) << 4u);
  let values = vec4<f32>((vec4<u32>(quants) >> ${BYTES}) & vec4<u32>(255u));`;
const FIVE_BITS = withHighBits('(block.high.x >> ((word & 3u) + 4u * half)) & 0x01010101u');
const SIX_BITS = withHighBits('(select(block.high.x, block.high.y, half == 1u) >> (2u * (word & 3u))) & 0x03030303u');
/** Scale, then offset. */
const AFFINE = '* block.scale.x + block.scale.y';

const TYPES: Record<WeightType, TypeWgsl> = {
  F32: { quadsPerWord: 1, raw: 'vec4<f32>', quad: 'return raw;' },
  F16: { quadsPerWord: 1, raw: 'vec2<u32>', quad: 'return vec4<f32>(unpack2x16float(raw.x), unpack2x16float(raw.y));' },
  BF16: {
    quadsPerWord: 1,
    raw: 'vec2<u32>',
    quad: 'return bitcast<vec4<f32>>(vec4<u32>(raw.x << 16u, raw.x & 0xffff0000u, raw.y << 16u, raw.y & 0xffff0000u));',
  },
  Q8_0: {
    quadsPerWord: 1,
    raw: 'u32',
    quad: 'return vec4<f32>((vec4<i32>(bitcast<i32>(raw)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u)) * block.scale.x;',
    blocks: { stride: 8, parts: 1, body: scaled(NO_BITS) },
  },
  Q4_0: {
    quadsPerWord: 2,
    raw: 'u32',
    quad: `return (${NIBBLES} - 8.0) * block.scale.x;`,
    blocks: { stride: 4, parts: 1, body: scaled(NO_BITS) },
  },
  Q4_1: { quadsPerWord: 2, raw: 'u32', quad: `return ${NIBBLES} ${AFFINE};`, blocks: { stride: 4, parts: 1, body: scaledAndOffset(NO_BITS) } },
  Q5_0: {
    quadsPerWord: 2,
    raw: 'u32',
    quad: `${FIVE_BITS} return (values - 16.0) * block.scale.x;`,
    blocks: { stride: 5, parts: 1, body: scaled(FIFTH_BITS) },
  },
  Q5_1: {
    quadsPerWord: 2,
    raw: 'u32',
    quad: `${FIVE_BITS} return values ${AFFINE};`,
    blocks: { stride: 5, parts: 1, body: scaledAndOffset(FIFTH_BITS) },
  },
  Q4_K: { quadsPerWord: 2, raw: 'u32', quad: `return ${NIBBLES} ${AFFINE};`, blocks: { stride: 4, parts: 1, body: scaledByBits(NO_BITS) } },
  Q5_K: {
    quadsPerWord: 2,
    raw: 'u32',
    quad: `${FIVE_BITS} return values ${AFFINE};`,
    blocks: { stride: 5, parts: 1, body: scaledByBits(FIFTH_BITS) },
  },
  Q6_K: {
    quadsPerWord: 2,
    raw: 'u32',
    quad: `${SIX_BITS} return (values - 32.0) * select(block.scale.x, block.scale.y, half == 1u);`,
    blocks: { stride: 6, parts: 2, body: scaledByBytes },
  },
};

/** Reads a packed frozen weight of `columns` columns (pack.ts); its parts are bound from `firstBinding` on. */
export function frozenReader(type: WeightType, columns: number, firstBinding: number): QuadReader {
  const { quadsPerWord, raw, quad, blocks } = TYPES[type];
  const elements = [raw, ...Array<string>(blocks?.parts ?? 0).fill('u32')];
  const declarations = elements.map(
    (element, i) => `@group(0) @binding(${firstBinding + i}) var<storage, read> weight_${i}: array<${element}>;`,
  );
  const split = quadsPerWord === 2;
  const words = Math.ceil(columns / 4 / quadsPerWord);
  const wordsPerBlock = blocks ? 8 / quadsPerWord : 0;
  // Where a block's words and high bits begin.
  const group = blocks && `row * ${(columns / 32) * blocks.stride}u + block * ${blocks.stride}u`;
  const wgsl = `${declarations.join('\n')}
fn weight_word(row: u32, word: u32) -> ${raw} { ${wordBody(words, wordsPerBlock, blocks?.stride)} }
${
  blocks
    ? `${BLOCK_WGSL}
fn weight_block(row: u32, block: u32) -> WeightBlock {
  let group = ${group};
  ${blocks.body(columns)}
}`
    : NO_BLOCK_WGSL
}
fn weight_quad(raw: ${raw}, word: u32, half: u32, block: WeightBlock) -> vec4<f32> { ${quad} }
fn weight_index(word: u32, half: u32) -> u32 { return ${split ? '(word / 4u) * 8u + (word & 3u) + 4u * half' : 'word'}; }
fn weight4(row: u32, quad: u32) -> vec4<f32> {
  let word = ${split ? '(quad / 8u) * 4u + (quad & 3u)' : 'quad'};
  return weight_quad(weight_word(row, word), word, ${split ? '(quad / 4u) & 1u' : '0u'}, weight_block(row, quad / 8u));
}
`;
  return { wgsl, bindings: elements.length, words, quadsPerWord, wordsPerBlock };
}

/** Body of weight_word: words lie one after the other, but where `stride` leaves room for a block's high bits behind them. */
function wordBody(words: number, wordsPerBlock: number, stride = wordsPerBlock): string {
  if (stride === wordsPerBlock) return `return weight_0[row * ${words}u + word];`;
  const row = (words / wordsPerBlock) * stride;
  return `return weight_0[row * ${row}u + (word / ${wordsPerBlock}u) * ${stride}u + word % ${wordsPerBlock}u];`;
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
${NO_BLOCK_WGSL}
fn weight_quad(raw: vec4<f32>, word: u32, half: u32, block: WeightBlock) -> vec4<f32> { return raw; }
fn weight_index(word: u32, half: u32) -> u32 { return word; }
`;
  return { wgsl, bindings: 1, words: quads(columns), quadsPerWord: 1, wordsPerBlock: 0 };
}
