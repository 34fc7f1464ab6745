import { describe, expect, it } from 'vitest';
import { rowBytes, WEIGHT_BLOCKS, type WeightType } from '../../../src/core/model';
import { packedBytes, packRows } from '../../../src/shaders/linear/pack';
import { storedWeight } from './device';

describe.each(Object.keys(WEIGHT_BLOCKS) as WeightType[])('packing %s rows', (type) => {
  const columns = { 1: 7, 32: 96, 256: 768 }[WEIGHT_BLOCKS[type].length]!;

  it('makes as many parts, of as many bytes, as it says', () => {
    const parts = packRows(type, storedWeight(type, 5, columns, 1).bytes, columns);
    expect(parts.map((part) => part.byteLength)).toEqual(packedBytes(type, 5, columns));
  });

  it('takes no more room than the file, but for padding every part of a row to whole words', () => {
    const packed = packedBytes(type, 1, columns);
    const file = rowBytes(type, columns);
    expect(packed.reduce((sum, bytes) => sum + bytes)).toBeGreaterThanOrEqual(file);
    // A row of floats is padded to 4 of them.
    expect(packed.reduce((sum, bytes) => sum + bytes)).toBeLessThanOrEqual(file + (type === 'F32' ? 4 : 3));
  });

  it('gives the same bytes slab by slab', () => {
    const { bytes } = storedWeight(type, 5, columns, 1);
    const whole = packRows(type, bytes, columns);
    const cut = 2 * rowBytes(type, columns);
    const slabs = [bytes.subarray(0, cut), bytes.subarray(cut)].map((slab) => packRows(type, slab, columns));
    whole.forEach((part, i) => expect([...slabs[0]![i]!, ...slabs[1]![i]!]).toEqual([...part]));
  });

  it('refuses bytes that are not whole rows', () => {
    expect(() => packRows(type, new Uint8Array(rowBytes(type, columns) + 1), columns)).toThrow(RangeError);
  });
});
