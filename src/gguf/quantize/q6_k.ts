import { f16ToF32, f32ToF16 } from '../../core/dtype';
import { nearestInt } from './nearest-int';
import { TINY, searchScale } from './scale-search';

const { fround } = Math;

const levels = new Uint8Array(256);
const scales = new Float32Array(16);

/**
 * Blocks of 256 weights as ggml's quantize_row_q6_K_ref makes them: 128 bytes of low nibbles, 64 of upper bit pairs,
 * 16 int8 scales, f16 d. A level is 32 above its value; each 128 weights lie in the bytes as four runs of 32.
 */
export function quantizeQ6_K(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, to = 0; at < values.length; at += 256, to += 210) {
    let largest = 0;
    let signed = 0;
    for (let j = 0; j < 16; j++) {
      const scale = searchScale(values, at + 16 * j, levels, 16 * j);
      scales[j] = scale;
      if (Math.abs(scale) > largest) {
        largest = Math.abs(scale);
        signed = scale;
      }
    }
    if (largest < TINY) {
      out.fill(0, to, to + 210);
      continue;
    }
    const inverse = fround(-128 / signed);
    const d = f32ToF16(1 / inverse);
    for (let j = 0; j < 16; j++) out[to + 192 + j] = Math.min(127, nearestInt(fround(inverse * scales[j]!)));
    out[to + 208] = d;
    out[to + 209] = d >>> 8;
    requantize(values, at, f16ToF32(d), out, to + 192);
    pack(out, to);
  }
}

/** The nearest levels on the stored grids; where a stored scale is 0, the searched levels stay. */
function requantize(values: Float32Array, at: number, d: number, stored: Uint8Array, from: number): void {
  for (let j = 0; j < 16; j++) {
    const scale = fround(d * ((stored[from + j]! << 24) >> 24));
    if (scale === 0) continue;
    for (let i = 16 * j; i < 16 * j + 16; i++) {
      const level = nearestInt(fround(values[at + i]! / scale));
      levels[i] = 32 + (level < -32 ? -32 : level > 31 ? 31 : level);
    }
  }
}

function pack(out: Uint8Array, to: number): void {
  for (let half = 0; half < 2; half++) {
    for (let i = 0; i < 32; i++) {
      const from = 128 * half + i;
      const [a, b, c, d] = [levels[from]!, levels[from + 32]!, levels[from + 64]!, levels[from + 96]!];
      out[to + 64 * half + i] = (a & 15) | ((c & 15) << 4);
      out[to + 64 * half + 32 + i] = (b & 15) | ((d & 15) << 4);
      out[to + 128 + 32 * half + i] = (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((d >> 4) << 6);
    }
  }
}
