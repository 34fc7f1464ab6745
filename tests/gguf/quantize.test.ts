import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { dequantize } from '../../src/core/blocks';
import type { WeightType } from '../../src/core/model';
import { quantize } from '../../src/gguf/quantize';
import { Random } from '../../src/core/random';
import { shared } from '../shared';

const folder = shared('goldens/quantize');
const sets: [string, WeightType][] = [
  ...(['F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q4_K', 'Q5_K', 'Q6_K'] as const).map((type): [string, WeightType] => ['main', type]),
  ...(['Q8_0', 'Q4_0', 'Q4_1', 'Q4_K', 'Q5_K', 'Q6_K'] as const).map((type): [string, WeightType] => ['edge', type]),
  ...(['Q8_0', 'Q5_0', 'Q5_1', 'Q4_K', 'Q5_K', 'Q6_K'] as const).map((type): [string, WeightType] => ['w576', type]),
];

describe.skipIf(!folder)('quantisers (skipped without ../shared/goldens/quantize)', () => {
  it.each(sets)("give llama-quantize's bytes for the set %s as %s", (set, type) => {
    const input = readFileSync(`${folder}/${set}-${type}.input.f32`);
    const values = new Float32Array(new Uint8Array(input).buffer);
    expect(Buffer.compare(quantize(type, values), readFileSync(`${folder}/${set}-${type}.expected.bin`))).toBe(0);
  });
});

/**
 * The largest error for values between -1 and 1: half a step of the grid, and what d and m lose in float16 (2^-11 of 127 d, or a hundredth);
 * the K types fit their grids by least squares, which leaves the outermost values up to a step and a half outside.
 */
const ERROR: Record<WeightType, number> = {
  F32: 0,
  F16: 2 ** -12,
  BF16: 2 ** -9,
  Q8_0: 0.5 / 127 + 2 ** -11,
  Q4_0: 1 / 8,
  Q4_1: 1.01 / 15,
  Q5_0: 1 / 16,
  Q5_1: 1.01 / 31,
  Q4_K: 1.5 / 15,
  Q5_K: 1.75 / 31,
  Q6_K: 0.6 / 32,
};

describe('quantising and reading back', () => {
  it.each(Object.keys(ERROR) as WeightType[])('stays near the values for %s', (type) => {
    const random = new Random(7);
    const values = Float32Array.from({ length: 256 * 40 }, () => random.uniform() * 2 - 1);
    const back = dequantize(type, quantize(type, values));
    const error = values.reduce((largest, x, i) => Math.max(largest, Math.abs(back[i]! - x)), 0);
    expect(error).toBeLessThanOrEqual(ERROR[type]);
  });

  it('gives the same bytes again where the values already lie on the grid of a type with signed steps', () => {
    const random = new Random(8);
    const values = Float32Array.from({ length: 32 * 20 }, () => random.uniform() - 0.5);
    for (const type of ['F16', 'BF16'] as const) {
      const once = quantize(type, values);
      expect(quantize(type, dequantize(type, once))).toEqual(once);
    }
  });

  it('refuses weights that do not fill blocks', () => {
    expect(() => quantize('Q8_0', new Float32Array(33))).toThrow('33 weights do not fill blocks of 32');
  });
});
