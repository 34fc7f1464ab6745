import { describe, expect, it } from 'vitest';
import { WEIGHT_BLOCKS, type WeightType } from '../../../src/core/model';
import type { DeviceTraits } from '../../../src/runtime/device';
import { linearBackwardReference, linearReference } from '../../../src/shaders/linear/linear.reference';
import { largestError, relativeError, runLinear, storedWeight, values, type LinearRun } from './device';

/** f32 sums of up to some thousand products, against float64: a few hundred roundings of 6e-8, most of them cancelling. */
const TOLERANCE = 2e-6;
/** The same for the worst of up to 360,000 entries, over their root mean square: some five standard deviations of the above. */
const LARGEST = 1e-5;

type Shape = [number, number, number];

interface Variant {
  name: string;
  traits: Partial<DeviceTraits>;
  shapes: Shape[];
  types: WeightType[];
}

const TYPES = Object.keys(WEIGHT_BLOCKS) as WeightType[];

/**
 * What this device chooses, and what others would: each kernel family is made to run here. The families share their
 * readers, and a software device takes seconds to compile a kernel with barriers, so those get fewer cases.
 */
const VARIANTS: Variant[] = [
  {
    name: 'the kernels of this device',
    traits: {},
    shapes: [
      [1, 5, 5],
      [3, 8, 64],
      [37, 517, 13],
      [37, 64, 517],
      [128, 5, 576],
      [128, 576, 5],
      [257, 192, 576],
      [300, 384, 576],
      [5, 1, 3],
    ],
    types: TYPES,
  },
  {
    name: 'plain registers',
    traits: { subgroupSize: 0, software: true },
    shapes: [
      [5, 1, 3],
      [37, 517, 13],
      [70, 68, 132],
    ],
    types: ['F32', 'BF16', 'Q8_0', 'Q4_1', 'Q5_K', 'Q6_K'],
  },
  {
    name: 'workgroup memory',
    traits: { subgroupSize: 32, software: false, maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 16384 },
    shapes: [
      [70, 517, 13],
      [37, 68, 132],
      [900, 900, 8],
    ],
    types: ['Q4_1', 'Q4_K', 'Q6_K'],
  },
  {
    name: 'plain registers, where workgroup memory is too small',
    traits: { subgroupSize: 0, software: false, maxComputeWorkgroupStorageSize: 4096 },
    shapes: [[70, 68, 132]],
    types: [],
  },
];

async function expectReference(run: LinearRun, weight: ArrayLike<number>): Promise<void> {
  const shape: Shape = [run.M, run.N, run.K];
  const got = await runLinear(run);
  const { dx, dw } = linearBackwardReference(run.x, weight, run.dy, shape, run.scale);
  expectClose(got.y, linearReference(run.x, weight, shape, run.scale, run.into));
  expectClose(got.dx, dx);
  const before = run.dwBefore;
  if (got.dw) expectClose(got.dw, before ? dw.map((value, i) => value + before[i]!) : dw);
}

function expectClose(got: Float32Array, expected: Float64Array): void {
  expect(relativeError(got, expected)).toBeLessThan(TOLERANCE);
  expect(largestError(got, expected)).toBeLessThan(LARGEST);
}

describe.each(VARIANTS)('linear by $name', ({ traits, shapes, types }) => {
  it.each(shapes)("gives float64's y, dx and dW for M %i, N %i, K %i", async (M, N, K) => {
    const weight = values(N * K, 2);
    await expectReference({ M, N, K, x: values(M * K, 1), dy: values(M * N, 3), weight: { values: weight }, traits }, weight);
  });

  for (const type of types) {
    it(`gives the results of the dequantised values of a frozen ${type} matrix`, async () => {
      // Some blocks a row; floats may end anywhere. 37 rows go through the tiles, 2 through the kernel for few rows.
      const K = { 1: 21, 32: 96, 256: 768 }[WEIGHT_BLOCKS[type].length]!;
      const N = 45;
      const weight = storedWeight(type, N, K, 2);
      for (const M of [37, 2]) {
        const run = { M, N, K, x: values(M * K, 1), dy: values(M * N, 3), weight: { type, bytes: weight.bytes }, traits };
        await expectReference(run, weight.values);
      }
    });
  }

  it('adds to what is there, scaled, and leaves rows past the current ones alone', async () => {
    const [M, N, K] = [21, 33, 20];
    const into = values(64 * N, 4);
    const weight = values(N * K, 2);
    const [x, dy, dwBefore] = [values(64 * K, 1), values(64 * N, 3), values(N * K, 5)];
    const run: LinearRun = { M, maxM: 64, N, K, x, dy, weight: { values: weight }, into, scale: -1.75, dwBefore, traits };
    await expectReference(run, weight);
    expect([...(await runLinear(run)).unused]).toEqual([...into.subarray(M * N)]);
  });
});

describe('linear', () => {
  it.each<[WeightType, number]>([
    ['Q8_0', 64],
    ['Q5_1', 96],
    ['Q4_K', 512],
    ['Q6_K', 256],
  ])('sums the row shards of a large %s matrix of %i columns', async (type, K) => {
    const [M, N] = [19, 45];
    const weight = storedWeight(type, N, K, 2);
    const sharded = { type, bytes: weight.bytes, shardRows: 18 };
    await expectReference({ M, N, K, x: values(M * K, 1), dy: values(M * N, 3), weight: sharded }, weight.values);
  });

  it('gives the results of the dequantised values of a large Q6_K matrix, which has tiles of its own', async () => {
    const [M, N, K] = [258, 261, 512];
    const { bytes, values: weight } = storedWeight('Q6_K', N, K, 2);
    await expectReference({ M, N, K, x: values(M * K, 1), dy: values(M * N, 3), weight: { type: 'Q6_K', bytes } }, weight);
  });

  it('sums many tokens in chunks, and gives the same bits three times', async () => {
    const [M, N, K] = [1031, 5, 12];
    const weight = values(N * K, 2);
    const run: LinearRun = { M, N, K, x: values(M * K, 1), dy: values(M * N, 3), weight: { values: weight } };
    await expectReference(run, weight);
    const [first, second, third] = [await runLinear(run), await runLinear(run), await runLinear(run)];
    for (const again of [second, third]) {
      expect(again.y).toEqual(first.y);
      expect(again.dx).toEqual(first.dx);
      expect(again.dw).toEqual(first.dw);
    }
    expect(first.kernels).toContain('matmul tn sum');
  });

  it('folds grids of more than 65,535 workgroups, and sums over more than a million rows of a weight', async () => {
    const [M, N, K] = [1, 16 * 65_535 + 37, 4];
    const [x, weight, dy] = [values(M * K, 1), values(N * K, 2), values(M * N, 3)];
    const got = await runLinear({ M, N, K, x, dy, weight: { values: weight } });
    expect(got.largestGrid).toBeGreaterThan(65_535);
    expect(relativeError(got.y, linearReference(x, weight, [M, N, K]))).toBeLessThan(TOLERANCE);
    const { dx, dw } = linearBackwardReference(x, weight, dy, [M, N, K]);
    expect(relativeError(got.dw!, dw)).toBeLessThan(TOLERANCE);
    // One sum of a million products of either sign in f32: some hundred thousand roundings of 6e-8 beside a sum of a few hundred.
    expect(relativeError(got.dx, dx)).toBeLessThan(1e-4);
  });

  it('goes red where one weight is off', async () => {
    const [M, N, K] = [9, 16, 256];
    const { bytes, values: weight } = storedWeight('Q6_K', N, K, 2);
    // The lowest bit of one quant: a step of about a thirtieth.
    bytes[5 * 210 + 100]! ^= 1;
    const [x, dy] = [values(M * K, 1), values(M * N, 3)];
    const got = await runLinear({ M, N, K, x, dy, weight: { type: 'Q6_K', bytes } });
    const { dx } = linearBackwardReference(x, weight, dy, [M, N, K]);
    for (const error of [relativeError(got.y, linearReference(x, weight, [M, N, K])), relativeError(got.dx, dx)]) {
      expect(error).toBeGreaterThan(10 * TOLERANCE);
    }
  });

  it('refuses matrices that do not fit', async () => {
    const [M, N, K] = [2, 8, 32];
    const { bytes } = storedWeight('Q8_0', N, 64, 2);
    const run: LinearRun = { M, N, K, x: values(M * K, 1), dy: values(M * N, 3), weight: { type: 'Q8_0', bytes, columns: 64 } };
    await expect(runLinear(run)).rejects.toThrow('weight has 64 columns, and x has rows of 32.');
  });
});
