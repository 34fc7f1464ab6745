import { expect, it } from 'vitest';
import { dequantize } from '../../src/core/blocks';
import { rowBytes, type WeightType } from '../../src/core/model';
import { Dim, externalTensor, type Tensor } from '../../src/runtime/program';
import { createStorage } from '../../src/runtime/device';
import { embedding } from '../../src/shaders/embedding/embedding';
import { embeddingReference } from '../../src/shaders/embedding/embedding.reference';
import { packRows } from '../../src/shaders/linear/pack';
import { caseRandom, integers } from '../../src/shaders/suite';
import type { FrozenWeight } from '../../src/shaders/weight';
import { GuardedGraph, testGpu } from './guarded';

/** Bytes of rows of finite weights: scales and floats have small exponents, the rest is random. */
function storedRows(type: WeightType, rows: number, columns: number): Uint8Array {
  const random = caseRandom(rows, columns);
  const bytes = Uint8Array.from({ length: rows * rowBytes(type, columns) }, () => random.below(256));
  const block = { F32: 4, F16: 2, BF16: 2, Q8_0: 34, Q4_0: 18, Q4_1: 20 }[type];
  for (let at = 0; at < bytes.length; at += block) {
    if (type === 'F32') bytes[at + 3] = 0x3e;
    else bytes[at + 1] = type === 'BF16' ? 0x3e : 0x2c;
    if (type === 'Q4_1') bytes[at + 3] = 0x30;
  }
  return bytes;
}

async function upload(type: WeightType, bytes: Uint8Array, rows: number, columns: number, shardRows: number): Promise<FrozenWeight> {
  const gpu = await testGpu();
  const stored = rowBytes(type, columns);
  const shards: FrozenWeight['shards'] = [];
  for (let first = 0; first < rows; first += shardRows) {
    const count = Math.min(shardRows, rows - first);
    const parts = packRows(type, bytes.subarray(first * stored, (first + count) * stored), columns).map((part, i): Tensor => {
      const buffer = createStorage(gpu, `part ${i}`, part.byteLength);
      gpu.device.queue.writeBuffer(buffer, 0, part);
      return externalTensor(`part ${i}`, [part.byteLength / 4], 'u32', { buffer, offset: 0, size: buffer.size });
    });
    shards.push({ firstRow: first, rows: count, parts });
  }
  return { name: 'embedding', type, rows, columns, shards };
}

it.each<[WeightType, number]>([
  ['F32', 37],
  ['F16', 36],
  ['BF16', 64],
  ['Q8_0', 96],
  ['Q4_0', 64],
  ['Q4_1', 160],
])('embedding reads rows of a %s matrix of %i columns in three shards, to the bit', async (type, columns) => {
  const [V, M] = [23, 41];
  const bytes = storedRows(type, V, columns);
  const weight = await upload(type, bytes, V, columns, 9);
  const ids = integers(caseRandom(M), M, V);
  const g = new GuardedGraph(await testGpu());
  const rows = new Dim('M', M + 3);
  const out = embedding(g, g.guard('ids', [rows], 'u32', ids), weight);
  rows.value = M;
  await g.run();
  const values = Float64Array.from(dequantize(type, bytes));
  const expected = embeddingReference(ids, values, columns);
  expect(await g.floats(out)).toEqual(expected);
  expect(await g.overwritten()).toEqual([]);
  g.destroy();
});
