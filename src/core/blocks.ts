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
};
