import { expect, it } from 'vitest';
import type { WeightType } from '../../src/core/model';
import { Dim } from '../../src/runtime/program';
import { embedding } from '../../src/shaders/embedding/embedding';
import { embeddingReference } from '../../src/shaders/embedding/embedding.reference';
import { caseRandom, integers } from '../../src/shaders/suite';
import { GuardedGraph, testGpu } from './guarded';
import { storedWeight, uploadWeight } from './linear/device';

it.each<[WeightType, number]>([
  ['F32', 37],
  ['F16', 36],
  ['BF16', 64],
  ['Q8_0', 96],
  ['Q4_0', 64],
  ['Q4_1', 160],
  ['Q5_0', 96],
  ['Q5_1', 64],
  ['Q4_K', 512],
  ['Q4_K', 768],
  ['Q5_K', 256],
  ['Q6_K', 256],
  ['Q6_K', 768],
])('embedding reads rows of a %s matrix of %i columns in three shards, to the bit', async (type, columns) => {
  const [V, M] = [23, 41];
  const { bytes, values } = storedWeight(type, V, columns, 1);
  const weight = uploadWeight(await testGpu(), type, bytes, V, columns, 9);
  const ids = integers(caseRandom(M), M, V);
  const g = new GuardedGraph(await testGpu());
  const rows = new Dim('M', M + 3);
  const out = embedding(g, g.guard('ids', [rows], 'u32', ids), weight);
  rows.value = M;
  await g.run();
  const expected = embeddingReference(ids, Float64Array.from(values), columns);
  expect(await g.floats(out)).toEqual(expected);
  expect(await g.overwritten()).toEqual([]);
  g.destroy();
});
