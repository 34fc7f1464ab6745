import { f32ToF16 } from '../../core/dtype';

const { fround } = Math;

/**
 * Blocks of 32 weights as ggml's quantize_row_q5_1_ref makes them: f16 d = (max - min) / 31, f16 m = min,
 * then trunc((x - m) / d + 0.5): first the 32 fifth bits as a u32, then the low four bits, weight j in the low
 * and j + 16 in the high half of byte j.
 */
export function quantizeQ5_1(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, to = 0; at < values.length; at += 32, to += 24) {
    let least = values[at]!;
    let most = least;
    for (let j = 1; j < 32; j++) {
      const x = values[at + j]!;
      if (x < least) least = x;
      if (x > most) most = x;
    }
    const d = fround(fround(most - least) / 31);
    const inverse = d ? fround(1 / d) : 0;
    const [halfD, halfM] = [f32ToF16(d), f32ToF16(least)];
    out[to] = halfD;
    out[to + 1] = halfD >>> 8;
    out[to + 2] = halfM;
    out[to + 3] = halfM >>> 8;
    let fifth = 0;
    for (let j = 0; j < 16; j++) {
      const low = fround(fround(fround(values[at + j]! - least) * inverse) + 0.5) | 0;
      const high = fround(fround(fround(values[at + 16 + j]! - least) * inverse) + 0.5) | 0;
      out[to + 8 + j] = (low & 15) | ((high & 15) << 4);
      fifth |= (((low >> 4) & 1) << j) | (((high >> 4) & 1) << (j + 16));
    }
    for (let j = 0; j < 4; j++) out[to + 4 + j] = fifth >>> (8 * j);
  }
}
