import { describe, expect, it } from 'vitest';
import { compare, compareNumber } from './compare';

const expected = Float64Array.of(1, -2, 0, 1e-9);

describe('the comparison that all ops are held to', () => {
  it('accepts errors within the tolerance of a value and its tensor', () => {
    expect(compare(Float64Array.of(1 + 1e-6, -2, 1e-6, 0), expected, 1e-6)).toBeNull();
  });

  it('names the value that is off', () => {
    expect(compare(Float64Array.of(1, -2.1, 0, 0), expected, 1e-6)).toContain('value 1 is -2.1 where -2 was expected');
  });

  it.each([NaN, Infinity, -Infinity])('refuses %f whatever the tolerance', (value) => {
    expect(compare(Float64Array.of(1, value, 0, 0), expected, 1e9)).toContain('value 1 is');
    expect(compare(expected, Float64Array.of(1, value, 0, 0), 1e9)).toContain('value 1 is');
    expect(compareNumber(value, 1, 1e9, 1)).not.toBeNull();
  });

  it('refuses results of another length', () => {
    expect(compare(Float64Array.of(1), expected, 1)).toContain('1 values where 4');
  });
});
