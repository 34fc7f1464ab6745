import { f32ToF16 } from '../../core/dtype';
import { signedLargest } from './signed-largest';

const { fround } = Math;

/**
 * Blocks of 32 weights as ggml's quantize_row_q5_0_ref makes them: f16 d = (the value of largest magnitude) / -16,
 * then min(31, trunc(x / d + 16.5)): first the 32 fifth bits as a u32, then the low four bits, weight j in the low
 * and j + 16 in the high half of byte j.
 */
export function quantizeQ5_0(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, to = 0; at < values.length; at += 32, to += 22) {
    const d = fround(signedLargest(values, at) / -16);
    const inverse = d ? fround(1 / d) : 0;
    const half = f32ToF16(d);
    out[to] = half;
    out[to + 1] = half >>> 8;
    let fifth = 0;
    for (let j = 0; j < 16; j++) {
      const a = fround(fround(values[at + j]! * inverse) + 16.5) | 0;
      const b = fround(fround(values[at + 16 + j]! * inverse) + 16.5) | 0;
      const [low, high] = [a > 31 ? 31 : a, b > 31 ? 31 : b];
      out[to + 6 + j] = (low & 15) | ((high & 15) << 4);
      fifth |= ((low >> 4) << j) | ((high >> 4) << (j + 16));
    }
    for (let j = 0; j < 4; j++) out[to + 2 + j] = fifth >>> (8 * j);
  }
}
