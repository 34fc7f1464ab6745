import { quantizeScalesAndMins } from './scale-min-blocks';

const SEARCH = { top: 31, first: -0.5, tries: 15 };
const levels = new Uint8Array(256);

/**
 * Blocks of 256 weights as ggml's quantize_row_q5_K_ref makes them: f16 d and dmin, 12 bytes of 6-bit scales and mins,
 * 32 bytes of fifth bits (bit n of byte j is weight 32n + j's), then the low four bits: of each 64 weights,
 * j in the low and j + 32 in the high half of byte j.
 */
export function quantizeQ5_K(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, to = 0; at < values.length; at += 256, to += 176) {
    quantizeScalesAndMins(values, at, SEARCH, levels, out, to);
    for (let j = 0; j < 32; j++) {
      let fifth = 0;
      for (let n = 0; n < 4; n++) {
        const low = levels[64 * n + j]!;
        const high = levels[64 * n + 32 + j]!;
        fifth |= ((low >> 4) | ((high >> 4) << 1)) << (2 * n);
        out[to + 48 + 32 * n + j] = (low & 15) | ((high & 15) << 4);
      }
      out[to + 16 + j] = fifth;
    }
  }
}
