import { quantizeScalesAndMins } from './scale-min-blocks';

const SEARCH = { top: 15, first: -1, tries: 20 };
const levels = new Uint8Array(256);

/**
 * Blocks of 256 weights as ggml's quantize_row_q4_K_ref makes them: f16 d and dmin, 12 bytes of 6-bit scales and mins,
 * then four bits a weight: of each 64 weights, j in the low and j + 32 in the high half of byte j.
 */
export function quantizeQ4_K(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, to = 0; at < values.length; at += 256, to += 144) {
    quantizeScalesAndMins(values, at, SEARCH, levels, out, to);
    for (let n = 0; n < 4; n++) {
      for (let j = 0; j < 32; j++) out[to + 16 + 32 * n + j] = levels[64 * n + j]! | (levels[64 * n + 32 + j]! << 4);
    }
  }
}
