import { f16ToF32 } from './dtype';
import { WEIGHT_BLOCKS, type WeightType } from './model';

let halfTable: Float32Array | null = null;

/** All 65,536 float16 values, indexed by their bits. */
export function f16Table(): Float32Array {
  if (!halfTable) {
    halfTable = new Float32Array(0x10000);
    for (let bits = 0; bits < 0x10000; bits++) halfTable[bits] = f16ToF32(bits);
  }
  return halfTable;
}

/**
 * Values of stored weights: `bytes` holds whole blocks of `type` (ggml's layouts; rows follow each other
 * without padding), the result has one float32 a weight. Each product and sum is rounded to float32, as ggml does it.
 * `out`, where given, is filled from its start and returned as a view of the length written.
 */
export function dequantize(type: WeightType, bytes: Uint8Array, out?: Float32Array): Float32Array {
  const block = WEIGHT_BLOCKS[type];
  const blocks = Math.floor(bytes.byteLength / block.bytes);
  const length = blocks * block.length;
  const values = out ? out.subarray(0, length) : new Float32Array(length);
  if (values.length < length) throw new RangeError(`${length} weights do not fit into ${values.length} places`);
  DEQUANTIZERS[type](bytes, blocks, values);
  return values;
}

type Dequantizer = (bytes: Uint8Array, blocks: number, out: Float32Array) => void;

const DEQUANTIZERS: Record<WeightType, Dequantizer> = {
  F32: (bytes, blocks, out) => {
    new Uint8Array(out.buffer, out.byteOffset, blocks * 4).set(bytes.subarray(0, blocks * 4));
  },
  F16: (bytes, blocks, out) => {
    const table = f16Table();
    for (let i = 0; i < blocks; i++) out[i] = table[bytes[2 * i]! | (bytes[2 * i + 1]! << 8)]!;
  },
  BF16: (bytes, blocks, out) => {
    const bits = new Uint32Array(out.buffer, out.byteOffset, blocks);
    for (let i = 0; i < blocks; i++) bits[i] = (bytes[2 * i]! << 16) | (bytes[2 * i + 1]! << 24);
  },
  Q8_0: (bytes, blocks, out) => {
    const table = f16Table();
    for (let b = 0, at = 0; b < blocks; b++, at += 34) {
      const d = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
      for (let j = 0; j < 32; j++) out[b * 32 + j] = ((bytes[at + 2 + j]! << 24) >> 24) * d;
    }
  },
  Q4_0: (bytes, blocks, out) => {
    const table = f16Table();
    for (let b = 0, at = 0; b < blocks; b++, at += 18) {
      const d = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
      for (let j = 0; j < 16; j++) {
        const pair = bytes[at + 2 + j]!;
        out[b * 32 + j] = ((pair & 15) - 8) * d;
        out[b * 32 + 16 + j] = ((pair >> 4) - 8) * d;
      }
    }
  },
  Q4_1: (bytes, blocks, out) => {
    const table = f16Table();
    for (let b = 0, at = 0; b < blocks; b++, at += 20) {
      const d = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
      const m = table[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
      for (let j = 0; j < 16; j++) {
        const pair = bytes[at + 4 + j]!;
        out[b * 32 + j] = Math.fround((pair & 15) * d) + m;
        out[b * 32 + 16 + j] = Math.fround((pair >> 4) * d) + m;
      }
    }
  },
  Q5_0: (bytes, blocks, out) => {
    const table = f16Table();
    for (let b = 0, at = 0; b < blocks; b++, at += 22) {
      const d = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
      for (let j = 0; j < 32; j++) out[b * 32 + j] = (fiveBits(bytes, at + 2, at + 6, j) - 16) * d;
    }
  },
  Q5_1: (bytes, blocks, out) => {
    const table = f16Table();
    for (let b = 0, at = 0; b < blocks; b++, at += 24) {
      const d = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
      const m = table[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
      for (let j = 0; j < 32; j++) out[b * 32 + j] = Math.fround(fiveBits(bytes, at + 4, at + 8, j) * d) + m;
    }
  },
  Q4_K: (bytes, blocks, out) => {
    for (let b = 0; b < blocks; b++) dequantizeSubBlocks(bytes, b * 144, null, b * 144 + 16, out, b * 256);
  },
  Q5_K: (bytes, blocks, out) => {
    for (let b = 0; b < blocks; b++) dequantizeSubBlocks(bytes, b * 176, b * 176 + 16, b * 176 + 48, out, b * 256);
  },
  Q6_K: (bytes, blocks, out) => {
    const table = f16Table();
    for (let b = 0, at = 0; b < blocks; b++, at += 210) {
      const d = table[bytes[at + 208]! | (bytes[at + 209]! << 8)]!;
      for (let k = 0; k < 256; k++) {
        // Halves of 128 weights: four runs of 32, of which the low nibbles of 64 bytes hold the first two.
        const half = k >> 7;
        const run = (k >> 5) & 3;
        const low = (bytes[at + half * 64 + (k & 63)]! >> (4 * (run >> 1))) & 15;
        const high = (bytes[at + 128 + half * 32 + (k & 31)]! >> (2 * run)) & 3;
        const scale = (bytes[at + 192 + (k >> 4)]! << 24) >> 24;
        out[b * 256 + k] = Math.fround(d * scale) * ((low | (high << 4)) - 32);
      }
    }
  },
};

/** Quant j (0…31) of a block whose low bits are nibbles at `nibbles`, with the fifth bits as a u32 at `high`. */
function fiveBits(bytes: Uint8Array, high: number, nibbles: number, j: number): number {
  const low = (bytes[nibbles + (j & 15)]! >> (4 * (j >> 4))) & 15;
  return low | (((bytes[high + (j >> 3)]! >> (j & 7)) & 1) << 4);
}

/** The 6-bit scale and 6-bit minimum of sub-block j (0…7) of a Q4_K or Q5_K block, from its 12 packed bytes at `at`: scale | minimum << 6. */
export function scaleAndMinimum(bytes: Uint8Array, at: number, j: number): number {
  if (j < 4) return (bytes[at + j]! & 63) | ((bytes[at + j + 4]! & 63) << 6);
  const low = bytes[at + j + 4]!;
  const scale = (low & 15) | ((bytes[at + j - 4]! >> 6) << 4);
  const minimum = (low >> 4) | ((bytes[at + j]! >> 6) << 4);
  return scale | (minimum << 6);
}

/** The 256 values d·scale·q − dmin·minimum of a Q4_K or Q5_K block at `at`, with its low bits at `nibbles` and its `fifthBits`, if any. */
function dequantizeSubBlocks(bytes: Uint8Array, at: number, fifthBits: number | null, nibbles: number, out: Float32Array, first: number): void {
  const table = f16Table();
  const d = table[bytes[at]! | (bytes[at + 1]! << 8)]!;
  const dmin = table[bytes[at + 2]! | (bytes[at + 3]! << 8)]!;
  for (let j = 0; j < 8; j++) {
    const packed = scaleAndMinimum(bytes, at + 4, j);
    const scale = Math.fround(d * (packed & 63));
    const offset = Math.fround(dmin * (packed >> 6));
    // A pair of sub-blocks shares 32 bytes: the first has the low nibbles, the second the high ones.
    const low = nibbles + (j >> 1) * 32;
    const shift = 4 * (j & 1);
    for (let i = 0; i < 32; i++) {
      const high = fifthBits === null ? 0 : ((bytes[fifthBits + i]! >> j) & 1) << 4;
      out[first + j * 32 + i] = Math.fround(scale * (((bytes[low + i]! >> shift) & 15) | high)) - offset;
    }
  }
}
