import { f16ToF32, f32ToF16 } from '../../core/dtype';
import { nearestInt } from './nearest-int';
import { searchScaleAndMin, type GridSearch } from './scale-min-search';

const { fround } = Math;

const scales = new Float32Array(8);
const mins = new Float32Array(8);
const storedScales = new Uint8Array(8);
const storedMins = new Uint8Array(8);

/**
 * The part that Q4_K and Q5_K share, for the 256 weights from `at`: a scale and a min for each 32 of them, themselves
 * quantised to 6 bits against f16 d and dmin, and the weights' levels on the grids that result.
 * Writes d, dmin and the 12 bytes of scales from out[to] on, and 256 levels.
 */
export function quantizeScalesAndMins(values: Float32Array, at: number, search: GridSearch, levels: Uint8Array, out: Uint8Array, to: number): void {
  let maxScale = 0;
  let maxMin = 0;
  for (let j = 0; j < 8; j++) {
    const scale = searchScaleAndMin(values, at + 32 * j, search, levels, 32 * j, mins, j);
    scales[j] = scale;
    if (scale > maxScale) maxScale = scale;
    if (mins[j]! > maxMin) maxMin = mins[j]!;
  }
  const d = f32ToF16(maxScale / 63);
  const dmin = f32ToF16(maxMin / 63);
  out[to] = d;
  out[to + 1] = d >>> 8;
  out[to + 2] = dmin;
  out[to + 3] = dmin >>> 8;
  sixBits(scales, maxScale, storedScales);
  sixBits(mins, maxMin, storedMins);
  pack(out, to + 4);
  requantize(values, at, f16ToF32(d), f16ToF32(dmin), search.top, levels);
}

/** Each value's share of the largest, in 63rds; a value that came out negative wraps in a byte first, as in ggml. */
function sixBits(from: Float32Array, largest: number, stored: Uint8Array): void {
  const inverse = largest > 0 ? fround(63 / largest) : 0;
  for (let j = 0; j < 8; j++) stored[j] = Math.min(63, nearestInt(fround(inverse * from[j]!)) & 255);
}

/** 8 scales and 8 mins of 6 bits in 12 bytes: the first four of each whole, the last four split between nibbles and spare top bits. */
function pack(out: Uint8Array, to: number): void {
  for (let j = 0; j < 4; j++) {
    const [lateScale, lateMin] = [storedScales[j + 4]!, storedMins[j + 4]!];
    out[to + j] = storedScales[j]! | ((lateScale >> 4) << 6);
    out[to + 4 + j] = storedMins[j]! | ((lateMin >> 4) << 6);
    out[to + 8 + j] = (lateScale & 15) | ((lateMin & 15) << 4);
  }
}

/** The nearest levels on the stored grids; where a stored scale is 0, the searched levels stay. */
function requantize(values: Float32Array, at: number, d: number, dmin: number, top: number, levels: Uint8Array): void {
  for (let j = 0; j < 8; j++) {
    const scale = fround(d * storedScales[j]!);
    if (scale === 0) continue;
    const min = fround(dmin * storedMins[j]!);
    for (let i = 32 * j; i < 32 * j + 32; i++) {
      const level = nearestInt(fround(fround(values[at + i]! + min) / scale));
      levels[i] = level < 0 ? 0 : level > top ? top : level;
    }
  }
}
