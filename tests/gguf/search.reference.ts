/**
 * The slow, plain twins of src/gguf/quantize's searches: every trial is carried out in float32, none is dropped early.
 * After ggml's make_qkx2_quants and make_qx_quants.
 */
const f = Math.fround;

/** Float32 sum of terms in order. */
const sum = (terms: readonly number[]): number => terms.reduce((total, term) => f(total + term), 0);

/** The nearest whole number, halves to even, within bounds; `value` is of moderate size. */
function nearest(value: number, least: number, most: number): number {
  const floor = Math.floor(value);
  const up = value - floor > 0.5 || (value - floor === 0.5 && floor % 2 !== 0);
  return Math.min(most, Math.max(least, up ? floor + 1 : floor));
}

export interface Found {
  scale: number;
  min: number;
  levels: number[];
}

export function slowScaleAndMin(xs: readonly number[], { top, first, tries }: { top: number; first: number; tries: number }): Found {
  const rms = f(Math.sqrt(f(sum(xs.map((x) => f(x * x))) / 32)));
  const w = xs.map((x) => f(rms + Math.abs(x)));
  const sumW = sum(w);
  const sumX = sum(xs.map((x, i) => f(w[i]! * x)));
  const most = Math.max(...xs);
  let min = Math.min(0, ...xs);
  if (most === min) return { scale: 0, min: -min, levels: xs.map(() => 0) };
  const levelsFor = (inverse: number): number[] => xs.map((x) => nearest(f(inverse * f(x - min)), 0, top));
  const errorOf = (levels: readonly number[], scale: number, offset: number): number =>
    sum(levels.map((l, i) => [f(f(f(scale * l) + offset) - xs[i]!), w[i]!] as const).map(([d, weight]) => f(weight * f(d * d))));
  let inverse = f(top / f(most - min));
  let scale = f(1 / inverse);
  let levels = levelsFor(inverse);
  let best = errorOf(levels, scale, min);
  for (let trial = 0; trial <= tries; trial++) {
    inverse = f(f(f(first + f(f(0.1) * trial)) + top) / f(most - min));
    const tried = levelsFor(inverse);
    const weighted = tried.map((l, i) => f(w[i]! * l));
    const [sumL, sumLL, sumLX] = [sum(weighted), sum(weighted.map((wl, i) => f(wl * tried[i]!))), sum(weighted.map((wl, i) => f(wl * xs[i]!)))];
    const determinant = f(f(sumW * sumLL) - f(sumL * sumL));
    if (!(determinant > 0)) continue;
    let fitted = f(f(f(sumW * sumLX) - f(sumX * sumL)) / determinant);
    let offset = f(f(f(sumLL * sumX) - f(sumL * sumLX)) / determinant);
    if (offset > 0) [fitted, offset] = [f(sumLX / sumLL), 0];
    const error = errorOf(tried, fitted, offset);
    if (error < best) [best, scale, min, levels] = [error, fitted, offset, tried];
  }
  return { scale, min: -min, levels };
}

export function slowScale(xs: readonly number[]): Omit<Found, 'min'> {
  const signed = xs.reduce((largest, x) => (Math.abs(x) > Math.abs(largest) ? x : largest), 0);
  if (Math.abs(signed) < f(1e-15)) return { scale: 0, levels: xs.map(() => 0) };
  const w = xs.map((x) => f(x * x));
  let found: { scale: number; best: number; levels: number[] } | null = null;
  for (const trial of [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9]) {
    const inverse = f(-f(32 + f(f(0.1) * trial)) / signed);
    const levels = xs.map((x) => nearest(f(inverse * x), -32, 31));
    const lx = sum(levels.map((l, i) => f(f(w[i]! * xs[i]!) * l)));
    const ll = sum(levels.map((l, i) => f(f(w[i]! * l) * l)));
    if (found && !(ll > 0 && f(lx * lx) > f(found.best * ll))) continue;
    const scale = ll === 0 ? 0 : f(lx / ll);
    found = { scale, best: f(scale * lx), levels };
  }
  return { scale: found!.scale, levels: found!.levels.map((l) => l + 32) };
}
