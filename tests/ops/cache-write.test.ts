import { expect, it } from 'vitest';
import { Dim } from '../../src/runtime/program';
import { cacheWrite } from '../../src/shaders/cached-attention/cache-write';
import { caseRandom, normals } from '../../src/shaders/suite';
import { GuardedGraph, testGpu } from './guarded';

it.each([
  [1, 17, 6],
  [13, 31, 7],
  [64, 300, 192],
])('cacheWrite puts %i rows into a cache of %i rows of %i values and leaves the others', async (M, S, width) => {
  const random = caseRandom(M, S, width);
  const positions = random.shuffle(Array.from({ length: S }, (_, s) => s)).slice(0, M);
  const before = normals(random, S * width);
  const x = normals(random, M * width);
  const g = new GuardedGraph(await testGpu());
  const rows = new Dim('M', M + 3);
  const cache = g.guard('cache', [S, width], 'f32', before);
  cacheWrite(g, g.guard('x', [rows, width], 'f32', x), cache, g.guard('positions', [rows], 'u32', positions));
  rows.value = M;
  await g.run();
  const expected = before.slice();
  positions.forEach((position, m) => expected.set(x.subarray(m * width, (m + 1) * width), position * width));
  expect(await g.floats(cache)).toEqual(expected);
  expect(await g.overwritten()).toEqual([]);
  g.destroy();
});
