import { describe, expect, it } from 'vitest';
import { crc32 as zlibCrc32 } from 'node:zlib';
import { Random } from '../../src/core/random';
import { crc32 } from '../../src/core/checksum';

const text = (value: string) => new TextEncoder().encode(value);

describe('crc32', () => {
  it('gives the check value of the CRC catalogue', () => {
    expect(crc32(text('123456789'))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array())).toBe(0);
  });

  // zlib.crc32 came with Node 20.15.
  it.skipIf(typeof zlibCrc32 !== 'function')('equals zlib on every length up to 70 and on unaligned views', () => {
    const random = new Random(5);
    const buffer = Uint8Array.from({ length: 80 }, () => random.below(256));
    for (let length = 0; length <= 70; length++) {
      for (const start of [0, 1, 3]) {
        const view = buffer.subarray(start, start + length);
        expect(crc32(view)).toBe(zlibCrc32(view));
      }
    }
  });

  it('can be continued piece by piece', () => {
    const bytes = text('a checkpoint is written in parts');
    expect(crc32(bytes.subarray(11), crc32(bytes.subarray(0, 11)))).toBe(crc32(bytes));
  });

  it('changes when any one bit does', () => {
    const bytes = text('seventeen bytes!!');
    const before = crc32(bytes);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      expect(crc32(bytes)).not.toBe(before);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  });
});
