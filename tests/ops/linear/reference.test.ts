import { expect, it } from 'vitest';
import { linearBackwardReference, linearReference } from '../../../src/shaders/linear/linear.reference';
import { values } from './device';

it("gives the derivatives of the float64 product: central differences of its sum with dy's weights", () => {
  const shape: [number, number, number] = [3, 4, 5];
  const [M, N, K] = shape;
  const [x, w, dy] = [Float64Array.from(values(M * K, 1)), Float64Array.from(values(N * K, 2)), Float64Array.from(values(M * N, 3))];
  const loss = (): number => linearReference(x, w, shape, 0.7).reduce((sum, y, i) => sum + y * dy[i]!, 0);
  const { dx, dw } = linearBackwardReference(x, w, dy, shape, 0.7);
  for (const [input, gradient] of [
    [x, dx],
    [w, dw],
  ] as const) {
    input.forEach((value, i) => {
      const step = 1e-4;
      input[i] = value + step;
      const above = loss();
      input[i] = value - step;
      const below = loss();
      input[i] = value;
      // The loss is linear in each input, so only rounding (1e-16 / 1e-4) is left.
      expect((above - below) / (2 * step)).toBeCloseTo(gradient[i]!, 9);
    });
  }
});
