import { describe, expect, it } from 'vitest';
import { WEIGHT_BLOCKS, type WeightType } from '../../../src/core/model';
import { linearBackwardReference, linearReference } from '../../../src/shaders/linear/linear.reference';
import { relativeError, runLinear, storedWeight, values } from './device';

/** f32 sums of up to some thousand products, against float64: a few hundred roundings of 6e-8, most of them cancelling. */
const TOLERANCE = 2e-6;

const SHAPES: [number, number, number][] = [
  [1, 5, 5],
  [3, 8, 64],
  [37, 517, 13],
  [37, 64, 517],
  [128, 5, 576],
  [128, 576, 5],
  [257, 192, 576],
  [64, 576, 1536],
  [5, 1, 3],
];

describe('linear with an f32 matrix', () => {
  for (const [M, N, K] of SHAPES) {
    it(`gives float64's results for [${M},${K}] · [${N},${K}]ᵀ, forward and backward`, async () => {
      const x = values(M * K, 1);
      const w = values(N * K, 2);
      const dy = values(M * N, 3);
      const got = await runLinear({ M, N, K, x, dy, weight: { values: w } });
      const { dx, dw } = linearBackwardReference(x, w, dy, [M, N, K]);
      expect(relativeError(got.y, linearReference(x, w, [M, N, K]))).toBeLessThan(TOLERANCE);
      expect(relativeError(got.dx, dx)).toBeLessThan(TOLERANCE);
      expect(relativeError(got.dw!, dw)).toBeLessThan(TOLERANCE);
    });
  }
});

describe.each(Object.keys(WEIGHT_BLOCKS) as WeightType[])('linear with a frozen %s matrix', (type) => {
  const wide = WEIGHT_BLOCKS[type].length === 1 ? 21 : 96;
  it.each([
    [37, 45, wide],
    [3, 517, 576],
  ])('gives the results of its dequantised values for M %i, N %i, K %i', async (M, N, K) => {
    const weight = storedWeight(type, N, K, 2);
    const x = values(M * K, 1);
    const dy = values(M * N, 3);
    const got = await runLinear({ M, N, K, x, dy, weight: { type, bytes: weight.bytes } });
    expect(relativeError(got.y, linearReference(x, weight.values, [M, N, K]))).toBeLessThan(TOLERANCE);
    expect(relativeError(got.dx, linearBackwardReference(x, weight.values, dy, [M, N, K]).dx)).toBeLessThan(TOLERANCE);
  });
});
