import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Sha256, sha256 } from '../../src/core/sha256';

it('agrees with node:crypto for any bytes in any pieces', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 6 }), (pieces) => {
      const hash = new Sha256();
      const expected = createHash('sha256');
      for (const piece of pieces) {
        hash.update(piece);
        expected.update(piece);
      }
      expect(hash.hex()).toBe(expected.digest('hex'));
    }),
  );
});

it('agrees at every length around a block', () => {
  for (let length = 0; length < 200; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => i * 7);
    expect(sha256(bytes)).toBe(createHash('sha256').update(bytes).digest('hex'));
  }
});
