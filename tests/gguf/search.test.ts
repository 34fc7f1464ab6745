import { describe, expect, it } from 'vitest';
import { Random } from '../../src/core/random';
import { searchScaleAndMin } from '../../src/gguf/quantize/scale-min-search';
import { searchScale } from '../../src/gguf/quantize/scale-search';
import { randomValues } from '../fixtures';
import { slowScale, slowScaleAndMin } from './search.reference';

/** Makes a weight from a normal number and its index. */
const KINDS: [string, (normal: number, i: number) => number][] = [
  ['normal weights', (normal) => 0.02 * normal],
  ['negative weights', (normal) => -0.5 - Math.abs(normal)],
  ['mostly zeros', (normal) => (normal > 1.5 ? normal : 0)],
  ['a narrow band far from zero', (normal) => 1 + 1e-4 * normal],
  ['a narrow band below zero', (normal) => -1 - 1e-5 * normal],
  ['an outlier in each run', (normal, i) => (i % 32 === 5 ? 300 : normal)],
  ['a grid', (normal) => Math.round(6 * normal) / 64],
];
const RUNS = 300;

describe.each(KINDS)('searches in %s', (_, make) => {
  const values = randomValues(new Random(5), 32 * RUNS, 1).map(make);

  it.each([
    ['Q4_K', { top: 15, first: -1, tries: 20 }],
    ['Q5_K', { top: 31, first: -0.5, tries: 15 }],
  ])('%s: find the grid that trying every one in float32 finds', (_type, search) => {
    const [levels, mins] = [new Uint8Array(32), new Float32Array(1)];
    for (let at = 0; at < values.length; at += 32) {
      const scale = searchScaleAndMin(values, at, search, levels, 0, mins, 0);
      expect({ scale, min: mins[0]! + 0, levels: [...levels] }).toEqual(positive(slowScaleAndMin([...values.subarray(at, at + 32)], search)));
    }
  });

  it('Q6_K: find the scale that trying every one in float32 finds', () => {
    const levels = new Uint8Array(16);
    for (let at = 0; at < values.length; at += 16) {
      const scale = searchScale(values, at, levels, 0);
      expect({ scale, levels: [...levels] }).toEqual(slowScale([...values.subarray(at, at + 16)]));
    }
  });
});

/** -0 as 0, which toEqual tells apart and no byte does. */
function positive<T extends { min: number }>(found: T): T {
  return { ...found, min: found.min + 0 };
}
