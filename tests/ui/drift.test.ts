import { describe, expect, it } from 'vitest';
import { driftWords, formatKl, sameShare } from '../../src/ui/drift';

describe('what quantising the base costs, in words', () => {
  it('names bits, share, places and divergence', () => {
    expect(driftWords({ kl: 0.0214, same: 0.96, tokens: 1212 }, 'Q4_0')).toBe(
      'The 4-bit model picks the same next word as the original at 96% of 1,212 places in your rows (mean KL 0.021).',
    );
    expect(driftWords({ kl: 3.24e-6, same: 1, tokens: 9 }, 'Q8_0')).toMatch(/^The 8-bit model .* at 100% of 9 places .*3\.2e-6\)\.$/);
  });

  it('says 100% only where every place is the same', () => {
    expect([0.9999, 0.995, 0.29, 0].map(sameShare)).toEqual(['99.9%', '99.5%', '29%', '0%']);
  });

  it('shows no divergence below zero, and no number for none', () => {
    expect([-1e-9, 0, Number.NaN].map(formatKl)).toEqual(['0', '0', 'not a number']);
  });
});
