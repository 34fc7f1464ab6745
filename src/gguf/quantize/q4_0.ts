import { f32ToF16 } from '../../core/dtype';
import { signedLargest } from './signed-largest';

const { fround } = Math;

/**
 * Blocks of 32 weights as ggml's quantize_row_q4_0_ref makes them: f16 d = (the value of largest magnitude) / -8,
 * then min(15, trunc(x / d + 8.5)), weight j in the low and j + 16 in the high half of byte j.
 */
export function quantizeQ4_0(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, to = 0; at < values.length; at += 32, to += 18) {
    const d = fround(signedLargest(values, at) / -8);
    const inverse = d ? fround(1 / d) : 0;
    const half = f32ToF16(d);
    out[to] = half;
    out[to + 1] = half >>> 8;
    for (let j = 0; j < 16; j++) {
      const low = fround(fround(values[at + j]! * inverse) + 8.5) | 0;
      const high = fround(fround(values[at + 16 + j]! * inverse) + 8.5) | 0;
      out[to + 2 + j] = (low > 15 ? 15 : low) | ((high > 15 ? 15 : high) << 4);
    }
  }
}
