import { rowBytes, WEIGHT_BLOCKS, type WeightType } from '../../core/model';

/**
 * How frozen weights lie on the GPU. A file's blocks are 18, 20 or 34 bytes long and would be unaligned there, so
 * rows are repacked: quants as 32-bit words in one part, scales in another. Each part holds whole rows one after the
 * other, so a matrix may be packed in slabs of rows and each slab appended.
 */
interface Packing {
  /** What the parts hold, in binding order. */
  names: readonly string[];
  /** 32-bit words of one row in each part. */
  words: (columns: number) => number[];
  /** Packs one row: `row` is its bytes in the file, `parts` its zeroed places, one a part. */
  pack: (row: Uint8Array, parts: readonly Uint8Array[], columns: number) => void;
}

/** Float rows are padded with zeros to whole groups of four columns. */
const quads = (columns: number): number => Math.ceil(columns / 4);
const blocks = (columns: number): number => columns / 32;

function floatPacking(wordsPerQuad: number): Packing {
  return {
    names: ['values'],
    words: (columns) => [quads(columns) * wordsPerQuad],
    pack: (row, [values]) => values!.set(row),
  };
}

/** Blocks of 32 with one float16 scale: scales lie two a word, each row starting a new one. */
function scaledPacking(type: WeightType): Packing {
  const { bytes } = WEIGHT_BLOCKS[type];
  return {
    names: ['quants', 'scales'],
    words: (columns) => [(blocks(columns) * (bytes - 2)) / 4, Math.ceil(blocks(columns) / 2)],
    pack: (row, [quants, scales], columns) => {
      for (let b = 0; b < blocks(columns); b++) {
        scales!.set(row.subarray(b * bytes, b * bytes + 2), b * 2);
        quants!.set(row.subarray(b * bytes + 2, (b + 1) * bytes), b * (bytes - 2));
      }
    },
  };
}

/** Blocks of 32 with a float16 scale and a float16 offset, both in one word. */
function offsetPacking(type: WeightType): Packing {
  const { bytes } = WEIGHT_BLOCKS[type];
  return {
    names: ['quants', 'scales and offsets'],
    words: (columns) => [(blocks(columns) * (bytes - 4)) / 4, blocks(columns)],
    pack: (row, [quants, scales], columns) => {
      for (let b = 0; b < blocks(columns); b++) {
        scales!.set(row.subarray(b * bytes, b * bytes + 4), b * 4);
        quants!.set(row.subarray(b * bytes + 4, (b + 1) * bytes), b * (bytes - 4));
      }
    },
  };
}

const PACKINGS: Record<WeightType, Packing> = {
  F32: floatPacking(4),
  F16: floatPacking(2),
  BF16: floatPacking(2),
  Q8_0: scaledPacking('Q8_0'),
  Q4_0: scaledPacking('Q4_0'),
  Q4_1: offsetPacking('Q4_1'),
};

/** What each packed part of a type holds, in binding order. */
export function partNames(type: WeightType): readonly string[] {
  return PACKINGS[type].names;
}

/** Bytes of each part for `rows` rows of `columns` weights. */
export function packedBytes(type: WeightType, rows: number, columns: number): number[] {
  return PACKINGS[type].words(columns).map((words) => words * 4 * rows);
}

/**
 * Packs whole rows of `columns` weights as a file stores them (ggml's block layouts) into the GPU's parts.
 * Throws a RangeError where the bytes are not whole rows.
 */
export function packRows(type: WeightType, bytes: Uint8Array, columns: number): Uint8Array<ArrayBuffer>[] {
  const packing = PACKINGS[type];
  const stored = rowBytes(type, columns);
  const rows = bytes.byteLength / stored;
  if (!Number.isInteger(stored) || !Number.isInteger(rows)) {
    throw new RangeError(`${bytes.byteLength} bytes are not whole rows of ${columns} ${type} weights (${stored} bytes each).`);
  }
  const sizes = packedBytes(type, 1, columns);
  const parts = sizes.map((size) => new Uint8Array(size * rows));
  if (sizes.length === 1 && sizes[0] === stored) {
    parts[0]!.set(bytes);
    return parts;
  }
  for (let r = 0; r < rows; r++) {
    const places = parts.map((part, i) => part.subarray(r * sizes[i]!, (r + 1) * sizes[i]!));
    packing.pack(bytes.subarray(r * stored, (r + 1) * stored), places, columns);
  }
  return parts;
}
