import { describe, expect, it } from 'vitest';
import { rowBytes, WEIGHT_BLOCKS, type WeightType } from '../../../src/core/model';
import { packedBytes, packRows, partNames } from '../../../src/shaders/linear/pack';
import { storedWeight } from './device';

describe.each(Object.keys(WEIGHT_BLOCKS) as WeightType[])('packing %s rows', (type) => {
  const columns = WEIGHT_BLOCKS[type].length === 1 ? 7 : 96;

  it('makes as many parts, of as many bytes, as it says', () => {
    const parts = packRows(type, storedWeight(type, 5, columns, 1).bytes, columns);
    expect(parts.map((part) => part.byteLength)).toEqual(packedBytes(type, 5, columns));
    expect(parts).toHaveLength(partNames(type).length);
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
