import { describe, expect, it } from 'vitest';
import { formatAgo, formatBytes, formatDuration, formatLoss, formatParameters, formatRate, formatShare, plural } from '../../src/ui/format';

describe('numbers on the page', () => {
  it('are bytes in decimal units with at most one decimal', () => {
    expect([0, 999, 1000, 35_400_000, 530_900_000, 1_000_000_000, 4_620_000_000].map(formatBytes)).toEqual([
      '0 B',
      '999 B',
      '1.0 kB',
      '35 MB',
      '531 MB',
      '1.0 GB',
      '4.6 GB',
    ]);
  });

  it('never round up to a thousand of the smaller unit', () => {
    expect(formatBytes(999_999)).toBe('1.0 MB');
  });

  it('are durations as a person says them', () => {
    expect([0.2, 45, 600, 12_240].map(formatDuration)).toEqual(['1 s', '45 s', '10 min', '3.4 h']);
  });

  it('show losses with three digits and call a broken one by its name', () => {
    expect([1.4234, 0.08312, 12.345, NaN, Infinity].map(formatLoss)).toEqual(['1.42', '0.0831', '12.3', 'not a number', 'not a number']);
  });

  it('show learning rates as people write them', () => {
    expect([2e-4, 1.3e-4, 0].map(formatRate)).toEqual(['2e-4', '1.3e-4', '0']);
  });

  it('show sizes of models in thousands, millions and billions', () => {
    expect([260_000, 134_515_008, 1_100_000, 3_200_000_000].map(formatParameters)).toEqual(['260 k', '135 M', '1.1 M', '3.2 B']);
  });

  it('do not say 0% of something that is there', () => {
    expect(formatShare(3, 1000)).toBe('<1%');
    expect(formatShare(0, 0)).toBe('0%');
  });

  it('count one thing as one', () => {
    expect([plural(1, 'row'), plural(1204, 'row')]).toEqual(['1 row', '1,204 rows']);
  });

  it('tell how long ago something was', () => {
    const now = 10 * 86_400_000;
    expect([now - 5000, now - 180_000, now - 86_400_000].map((time) => formatAgo(time, now))).toEqual(['just now', '3 minutes ago', 'yesterday']);
  });
});
