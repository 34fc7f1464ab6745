import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { dequantize } from '../../src/core/blocks';
import type { WeightType } from '../../src/core/model';
import { quantize } from '../../src/gguf/quantize';
import { Random } from '../../src/core/random';
import { shared } from '../shared';

const folder = shared('goldens/quantize');
const sets: [string, WeightType][] = [
  ['main', 'F16'],
  ['main', 'BF16'],
  ['main', 'Q8_0'],
  ['main', 'Q4_0'],
  ['main', 'Q4_1'],
  ['edge', 'Q8_0'],
  ['edge', 'Q4_0'],
  ['edge', 'Q4_1'],
  ['w576', 'Q8_0'],
];

describe.skipIf(!folder)('quantisers (skipped without ../shared/goldens/quantize)', () => {
  it.each(sets)("give llama-quantize's bytes for the set %s as %s", (set, type) => {
    const input = readFileSync(`${folder}/${set}-${type}.input.f32`);
    const values = new Float32Array(new Uint8Array(input).buffer);
    expect(Buffer.compare(quantize(type, values), readFileSync(`${folder}/${set}-${type}.expected.bin`))).toBe(0);
  });
});

/** Half a step of each grid for magnitudes up to 1; the block types a little more, for the rounding of d (and m) to float16. */
const STEP: Record<WeightType, number> = { F32: 0, F16: 2 ** -11, BF16: 2 ** -8, Q8_0: 0.55 / 127, Q4_0: 1 / 8, Q4_1: 1.01 / 15 };

describe('quantising and reading back', () => {
  it.each(Object.keys(STEP) as WeightType[])('stays within half a step for %s', (type) => {
    const random = new Random(7);
    const values = Float32Array.from({ length: 32 * 50 }, () => random.uniform() * 2 - 1);
    const back = dequantize(type, quantize(type, values));
    for (let i = 0; i < values.length; i++) expect(Math.abs(back[i]! - values[i]!)).toBeLessThanOrEqual(STEP[type]);
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
