import { f32ToF16 } from '../../core/dtype';

const { fround } = Math;

/**
 * Blocks of 32 weights as ggml's quantize_row_q8_0_ref makes them: f16 d = max |x| / 127, then 32 × i8 round(x / d),
 * halves away from zero. Every operation is rounded to float32, and 1/d uses d before its rounding to float16.
 */
export function quantizeQ8_0(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, to = 0; at < values.length; at += 32, to += 34) {
    let largest = 0;
    for (let j = 0; j < 32; j++) {
      const x = values[at + j]!;
      const magnitude = x < 0 ? -x : x;
      if (magnitude > largest) largest = magnitude;
    }
    const d = fround(largest / 127);
    const inverse = d ? fround(1 / d) : 0;
    const half = f32ToF16(d);
    out[to] = half;
    out[to + 1] = half >>> 8;
    for (let j = 0; j < 32; j++) {
      const x = fround(values[at + j]! * inverse);
      out[to + 2 + j] = x < 0 ? (x - 0.5) | 0 : (x + 0.5) | 0;
    }
  }
}
