import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { dequantize, scaleAndMinimum } from '../../src/core/blocks';
import type { WeightType } from '../../src/core/model';
import { shared } from '../shared';

const folder = shared('goldens/quantize');

/**
 * Largest error beside the largest weight of the 32: half a step of the type's grid (of the doubled range where it has an
 * offset), a little more for K types, whose scales and minima are rounded to six or eight bits.
 */
const BOUNDS: [string, WeightType, number][] = [
  ['main', 'F16', 2 ** -11],
  ['main', 'BF16', 2 ** -8],
  ['main', 'Q8_0', 0.51 / 127 + 2 ** -11],
  ['main', 'Q4_0', 1.01 / 8],
  ['main', 'Q4_1', 1.01 / 15],
  ['w576', 'Q5_0', 1.01 / 16],
  ['w576', 'Q5_1', 1.01 / 31],
  ['main', 'Q4_K', 1.4 / 15],
  ['w576', 'Q4_K', 1.4 / 15],
  ['main', 'Q5_K', 1.5 / 31],
  ['w576', 'Q5_K', 1.5 / 31],
  ['main', 'Q6_K', 0.55 / 32],
  ['w576', 'Q6_K', 0.55 / 32],
];

/** Largest error over the largest weight of its 32. */
function largestError(values: Float32Array, expected: Float32Array): number {
  let worst = 0;
  for (let first = 0; first < expected.length; first += 32) {
    const block = expected.subarray(first, first + 32);
    const largest = block.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    block.forEach((value, i) => (worst = Math.max(worst, Math.abs(values[first + i]! - value) / largest)));
  }
  return worst;
}

describe.skipIf(!folder)('dequantising what llama-quantize wrote (skipped without ../shared/goldens/quantize)', () => {
  it.each(BOUNDS)('gives the set %s back from %s within half a step', (set, type, bound) => {
    const input = new Float32Array(new Uint8Array(readFileSync(`${folder}/${set}-${type}.input.f32`)).buffer);
    const bytes = new Uint8Array(readFileSync(`${folder}/${set}-${type}.expected.bin`));
    expect(largestError(dequantize(type, bytes), input)).toBeLessThan(bound);
    // One byte of quants that is off has to be seen.
    bytes[bytes.length / 2 + 61]! ^= 0x88;
    expect(largestError(dequantize(type, bytes), input)).toBeGreaterThan(bound);
  });
});

it('takes all six bits of scales and minima of K blocks from their twelve bytes', () => {
  const scales = [63, 1, 32, 21, 63, 17, 48, 5];
  const minima = [2, 63, 33, 12, 16, 63, 3, 40];
  // As ggml packs them: the first four whole, of the others four bits each in a byte and two above the first four.
  const bytes = new Uint8Array(12);
  for (let j = 0; j < 4; j++) {
    bytes[j] = scales[j]! | ((scales[j + 4]! >> 4) << 6);
    bytes[j + 4] = minima[j]! | ((minima[j + 4]! >> 4) << 6);
    bytes[j + 8] = (scales[j + 4]! & 15) | ((minima[j + 4]! & 15) << 4);
  }
  const unpacked = Array.from({ length: 8 }, (_, j) => scaleAndMinimum(bytes, 0, j));
  expect(unpacked.map((both) => both & 63)).toEqual(scales);
  expect(unpacked.map((both) => both >> 6)).toEqual(minima);
});
