import { describe, expect, it } from 'vitest';
import type { WeightType } from '../../src/core/model';
import { scaleRowsSuite } from '../../src/shaders/dora/dora.cases';
import { adaptedNorms, rowSquares, scaleRows } from '../../src/shaders/dora/dora';
import { adaptedNormsReference } from '../../src/shaders/dora/dora.reference';
import { caseRandom, normals } from '../../src/shaders/suite';
import { compare } from './compare';
import { GuardedGraph, testGpu } from './guarded';
import { testOp } from './harness';
import { storedWeight, uploadWeight } from './linear/device';

testOp(scaleRowsSuite);

/** The GPU's row norms of a stored weight in shards of 9 rows with a change of rank R. */
async function norms(type: WeightType, [N, C, R]: readonly [number, number, number], values: { a: Float64Array; b: Float64Array }, scale: number): Promise<{ found: Float64Array; stored: Float32Array; overwritten: string[] }> {
  const gpu = await testGpu();
  const { bytes, values: stored } = storedWeight(type, N, C, 1);
  const weight = uploadWeight(gpu, type, bytes, N, C, 9);
  const g = new GuardedGraph(gpu);
  const squares = g.guard('squares', [N], 'f32');
  const out = g.guard('norms', [N], 'f32');
  rowSquares(g, weight, squares);
  adaptedNorms(g, weight, squares, { A: g.guard('A', [R, C], 'f32', values.a), B: g.guard('B', [N, R], 'f32', values.b), scale }, out);
  await g.run();
  const found = await g.floats(out);
  const overwritten = await g.overwritten();
  g.destroy();
  return { found, stored, overwritten };
}

describe('norms of adapted rows', () => {
  it.each<[WeightType, readonly [number, number, number], number]>([
    ['F32', [23, 37, 3], 2],
    ['Q8_0', [40, 96, 5], 0.5],
    ['Q6_K', [21, 256, 2], 1],
  ])('of a %s matrix of %j with a scale of %d are the lengths of W + s·B·A', async (type, sizes, scale) => {
    const [N, C, R] = sizes;
    const random = caseRandom(N, C, R);
    const { stored } = { stored: storedWeight(type, N, C, 1).values };
    const size = Math.sqrt(stored.reduce((sum, x) => sum + x * x, 0) / stored.length);
    const values = { a: normals(random, R * C), b: normals(random, N * R, 0.3 * size) };
    const { found, overwritten } = await norms(type, sizes, values, scale);
    const expected = adaptedNormsReference(stored, values.a, values.b, sizes, scale);
    // Squares and products of up to 256 terms in f32, then half of their error in the root.
    expect(compare(found, expected, 3e-6)).toBeNull();
    expect(compare(found, adaptedNormsReference(stored, values.a, values.b, sizes, scale * 1.01), 3e-6)).not.toBeNull();
    expect(overwritten).toEqual([]);
  });

  it('keep four digits where a change takes nine tenths of every row away', async () => {
    const sizes = [8, 64, 8] as const;
    const [N, C, R] = sizes;
    const { values: stored } = storedWeight('F32', N, C, 1);
    // A holds the rows themselves and B takes 0.9 of its own row away: what is left is a tenth, its square a hundredth of the terms.
    const values = { a: Float64Array.from(stored), b: Float64Array.from({ length: N * R }, (_, i) => (Math.floor(i / R) === i % R ? Math.fround(-0.9) : 0)) };
    const { found } = await norms('F32', sizes, values, 1);
    // 2e-7 of terms a hundred times the result.
    expect(compare(found, adaptedNormsReference(stored, values.a, values.b, sizes, 1), 2e-5)).toBeNull();
  });

  it('of zero scale their rows to zero instead of dividing by it', async () => {
    const g = new GuardedGraph(await testGpu());
    const vector = (name: string, values: number[]) => g.guard(name, [2], 'f32', values);
    const out = scaleRows(g, g.guard('x', [1, 2], 'f32', [3, 4]), { magnitude: vector('m', [0, 2]), norm: vector('n', [0, 4]) });
    await g.run();
    expect(await g.floats(out)).toEqual(Float64Array.of(0, 2));
    g.destroy();
  });
});
