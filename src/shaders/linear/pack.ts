import { scaleAndMinimum } from '../../core/blocks';
import { rowBytes, WEIGHT_BLOCKS, type WeightType } from '../../core/model';

/**
 * How frozen weights lie on the GPU. A file's blocks are of 18, 22, 210, … bytes and would be unaligned there, so rows
 * are repacked, without growing but for padding to whole words: quants in one part, scales in others. Each part holds
 * whole rows one after the other, so a matrix may be packed in slabs of rows and each slab appended.
 *
 * Whatever a type's own blocks, its quants are packed in groups of 32 weights, and those of fewer than 8 bits are split:
 * four words of nibbles (byte j: weight j low, weight 16 + j high, as ggml has them in blocks of 32), then the fifth bits
 * in one word, or the fifth and sixth in two. High bits of four consecutive weights lie in the four bytes of a word at the
 * same place, so that a kernel moves them all above their nibbles with one shift and one mask:
 *   fifth bit of weight 4q + j: bit 8j + q;      fifth and sixth of weight 16h + 4w + j: bits 8j + 2w of word h.
 */
interface Packing {
  /** 32-bit words of one row in each part, in binding order. */
  words: (columns: number) => number[];
  /** Packs one row: `row` is its bytes in the file, `parts` its zeroed places, one a part. */
  pack: (row: Uint8Array, parts: readonly Uint32Array[], columns: number) => void;
}

/** Weights that share their words, of every quantised type. */
const GROUP = 32;
const LOW = 0x0f0f0f0f;

const view = (row: Uint8Array): DataView => new DataView(row.buffer, row.byteOffset, row.byteLength);

/** Float rows are padded with zeros to whole groups of four columns. */
function floatPacking(wordsPerQuad: number): Packing {
  return {
    words: (columns) => [Math.ceil(columns / 4) * wordsPerQuad],
    pack: (row, [values]) => new Uint8Array(values!.buffer, values!.byteOffset, values!.byteLength).set(row),
  };
}

/**
 * Types of 32 a block: a float16 scale, perhaps a float16 offset, perhaps a word of fifth bits, then quants. Scales alone
 * lie two a word, each row starting a new one; a scale and its offset share a word.
 */
function blockPacking(type: WeightType, { offset, fifthBits }: { offset: boolean; fifthBits: boolean }): Packing {
  const { bytes } = WEIGHT_BLOCKS[type];
  const header = offset ? 4 : 2;
  const quants = header + (fifthBits ? 4 : 0);
  const stride = (bytes - header) / 4;
  return {
    words: (columns) => [(columns / GROUP) * stride, offset ? columns / GROUP : Math.ceil(columns / GROUP / 2)],
    pack: (row, [groups, scales], columns) => {
      const file = view(row);
      for (let b = 0, at = 0; b < columns / GROUP; b++, at += bytes) {
        if (offset) scales![b] = file.getUint32(at, true);
        else scales![b >> 1]! |= file.getUint16(at, true) << (16 * (b & 1));
        for (let i = 0; quants + 4 * i < bytes; i++) groups![b * stride + i] = file.getUint32(at + quants + 4 * i, true);
        if (fifthBits) groups![b * stride + 4] = spreadFifthBits(file.getUint32(at + header, true));
      }
    },
  };
}

/** Bit 4q + j of a block's fifth bits moved to bit 8j + q. */
function spreadFifthBits(bits: number): number {
  let spread = 0;
  for (let q = 0; q < 8; q++) {
    // The product puts copies of four bits 7 places apart, which leaves one of the four in the lowest bit of each byte.
    spread |= ((((bits >>> (4 * q)) & 15) * 0x00204081) & 0x01010101) << q;
  }
  return spread;
}

/**
 * Q4_K and Q5_K: 256 a block, 8 sub-blocks of 32 with a 6-bit scale and minimum each. The second part has four words a
 * block: d and dmin, then of each sub-block 8 bits (its scale, and the minimum's low two) in two words and 4 bits (the
 * minimum's high four) in the last. That is no byte more than the file's.
 */
function minimumPacking(type: 'Q4_K' | 'Q5_K'): Packing {
  const { bytes } = WEIGHT_BLOCKS[type];
  const stride = type === 'Q5_K' ? 5 : 4;
  const fifthBits = 16;
  const nibbles = bytes - 128;
  return {
    words: (columns) => [(columns / GROUP) * stride, columns / 64],
    pack: (row, [groups, scales], columns) => {
      const file = view(row);
      for (let b = 0, at = 0; b < columns / 256; b++, at += bytes) {
        scales![b * 4] = file.getUint32(at, true);
        for (let j = 0; j < 8; j++) {
          const packed = scaleAndMinimum(row, at + 4, j);
          scales![b * 4 + 1 + (j >> 2)]! |= (packed & 255) << (8 * (j & 3));
          scales![b * 4 + 3]! |= (packed >> 8) << (4 * j);
          const group = (b * 8 + j) * stride;
          packNibbles(file, at + nibbles + (j >> 1) * 32, 4 * (j & 1), groups!, group);
          if (type === 'Q4_K') continue;
          let spread = 0;
          for (let q = 0; q < 8; q++) spread |= ((file.getUint32(at + fifthBits + 4 * q, true) >>> j) & 0x01010101) << q;
          groups![group + 4] = spread;
        }
      }
    },
  };
}

/** Q6_K: 256 a block, 16 sub-blocks of 16 with a signed byte as scale. Scales are the second part, d (two a word) the third. */
function sixBitPacking(): Packing {
  const { bytes } = WEIGHT_BLOCKS.Q6_K;
  const stride = 6;
  return {
    words: (columns) => [(columns / GROUP) * stride, columns / 64, Math.ceil(columns / 512)],
    pack: (row, [groups, scales, d], columns) => {
      const file = view(row);
      for (let b = 0, at = 0; b < columns / 256; b++, at += bytes) {
        for (let i = 0; i < 4; i++) scales![b * 4 + i] = file.getUint32(at + 192 + 4 * i, true);
        d![b >> 1]! |= file.getUint16(at + 208, true) << (16 * (b & 1));
        for (let j = 0; j < 8; j++) {
          // Halves of 128 weights: 64 bytes hold two groups in their low and two in their high nibbles, 32 bytes all high bits.
          const half = j >> 2;
          const group = (b * 8 + j) * stride;
          packNibbles(file, at + half * 64 + (j & 1) * 32, 2 * (j & 2), groups!, group);
          for (let q = 0; q < 8; q++) {
            const bits = (file.getUint32(at + 128 + half * 32 + 4 * q, true) >>> (2 * (j & 3))) & 0x03030303;
            groups![group + 4 + (q >> 2)]! |= bits << (2 * (q & 3));
          }
        }
      }
    },
  };
}

/** The nibbles at bit `shift` (0 or 4) of 32 bytes from `at` as one group's four words: the first 16 low, the others high. */
function packNibbles(file: DataView, at: number, shift: number, groups: Uint32Array, group: number): void {
  for (let w = 0; w < 4; w++) {
    const low = (file.getUint32(at + 4 * w, true) >>> shift) & LOW;
    const high = (file.getUint32(at + 16 + 4 * w, true) >>> shift) & LOW;
    groups[group + w] = low | (high << 4);
  }
}

const PACKINGS: Record<WeightType, Packing> = {
  F32: floatPacking(4),
  F16: floatPacking(2),
  BF16: floatPacking(2),
  Q8_0: blockPacking('Q8_0', { offset: false, fifthBits: false }),
  Q4_0: blockPacking('Q4_0', { offset: false, fifthBits: false }),
  Q4_1: blockPacking('Q4_1', { offset: true, fifthBits: false }),
  Q5_0: blockPacking('Q5_0', { offset: false, fifthBits: true }),
  Q5_1: blockPacking('Q5_1', { offset: true, fifthBits: true }),
  Q4_K: minimumPacking('Q4_K'),
  Q5_K: minimumPacking('Q5_K'),
  Q6_K: sixBitPacking(),
};

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
  if (!Number.isInteger(columns / WEIGHT_BLOCKS[type].length) || !Number.isInteger(rows)) {
    throw new RangeError(`${bytes.byteLength} bytes are not whole rows of ${columns} ${type} weights (${stored} bytes each).`);
  }
  const words = packing.words(columns);
  const parts = words.map((count) => new Uint32Array(count * rows));
  const packed = parts.map((part) => new Uint8Array(part.buffer));
  if (words.length === 1 && words[0]! * 4 === stored) {
    packed[0]!.set(bytes);
    return packed;
  }
  for (let r = 0; r < rows; r++) {
    const places = parts.map((part, i) => part.subarray(r * words[i]!, (r + 1) * words[i]!));
    packing.pack(bytes.subarray(r * stored, (r + 1) * stored), places, columns);
  }
  return packed;
}
