/** Comparisons of what the GPU computed with f64 references. Each returns a complaint, or null where the values agree. */

/** Root mean square. */
export function rms(values: ArrayLike<number>): number {
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += values[i]! ** 2;
  return Math.sqrt(squares / Math.max(values.length, 1));
}

/** The first value that is infinite or NaN. */
export function notFinite(values: Float64Array): string | null {
  const at = values.findIndex((value) => !Number.isFinite(value));
  return at < 0 ? null : `value ${at} is ${values[at]}`;
}

/** |actual - expected| <= tolerance * (|expected| + rms(expected)) everywhere. */
export function compare(actual: Float64Array, expected: Float64Array, tolerance: number): string | null {
  if (actual.length !== expected.length) return `${actual.length} values where ${expected.length} were expected`;
  const broken = notFinite(actual) ?? notFinite(expected);
  if (broken) return broken;
  const scale = rms(expected);
  let worst = 0;
  let at = -1;
  expected.forEach((value, i) => {
    const error = Math.abs(actual[i]! - value);
    const relative = error === 0 ? 0 : error / (Math.abs(value) + scale);
    if (relative > worst) [worst, at] = [relative, i];
  });
  return worst <= tolerance ? null : `value ${at} is ${actual[at]} where ${expected[at]} was expected: off by ${worst}, ${tolerance} is allowed`;
}

/** The same for one number beside a scale of its own. */
export function compareNumber(actual: number, expected: number, tolerance: number, scale: number): string | null {
  const off = Math.abs(actual - expected);
  return off <= tolerance * (Math.abs(expected) + scale) ? null : `${actual} where ${expected} was expected: off by ${off / (Math.abs(expected) + scale)}`;
}
