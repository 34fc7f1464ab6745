import { ROUNDER, boundedInt } from './nearest-int';

const { fround } = Math;

/** Weights that share a scale; levels from -32 to 31. */
const LENGTH = 16;
const TOP = 32;
const STEP = fround(0.1);
/** Below this magnitude ggml takes weights for zeros (GROUP_MAX_EPS). */
export const TINY = fround(1e-15);

/** Float32 numbers kept as float64, which spares conversions in the loops: the weights x, x², x³, and a trial's levels. */
const [xs, squares, cubes, trial] = [0, 1, 2, 3].map(() => new Float64Array(LENGTH)) as [Float64Array, Float64Array, Float64Array, Float64Array];
/** Σwxl and Σwl² of the trial's levels l: in float64, and in float32 as ggml adds them up. */
const wideSums = new Float64Array(2);
const sums = new Float32Array(2);

/**
 * The best of 19 spacings for the 16 weights from `at`, as ggml's make_qx_quants (nmax 32, squares as importance) finds it:
 * the first of largest (Σwxl)² / Σwl² wins, compared without the division. Arithmetic that decides is float32, in ggml's order;
 * trials that are sure to lose are dropped in float64 before, which is several times faster.
 * Writes the levels plus 32 from `to` on; returns the least-squares scale.
 */
export function searchScale(values: Float32Array, at: number, levels: Uint8Array, to: number): number {
  let largest = 0;
  let signed = 0;
  for (let i = 0; i < LENGTH; i++) {
    const x = values[at + i]!;
    const magnitude = x < 0 ? -x : x;
    if (magnitude > largest) {
      largest = magnitude;
      signed = x;
    }
    xs[i] = x;
    squares[i] = fround(x * x);
    cubes[i] = fround(squares[i]! * x);
  }
  if (largest < TINY) {
    levels.fill(0, to, to + LENGTH);
    return 0;
  }
  tryLevels(fround(-TOP / signed));
  sumUp();
  keep(levels, to);
  let scale = sums[1] === 0 ? 0 : fround(sums[0]! / sums[1]!);
  let best = fround(scale * sums[0]!);
  for (let i = -9; i <= 9; i++) {
    if (i === 0) continue;
    tryLevels(fround(-fround(TOP + fround(STEP * i)) / signed));
    if (surelyWorse(best)) continue;
    sumUp();
    const lx = sums[0]!;
    const ll = sums[1]!;
    if (ll > 0 && fround(lx * lx) > fround(best * ll)) {
      keep(levels, to);
      scale = fround(lx / ll);
      best = fround(scale * lx);
    }
  }
  return scale;
}

function keep(levels: Uint8Array, to: number): void {
  for (let i = 0; i < LENGTH; i++) levels[to + i] = trial[i]! + TOP;
}

/** trial = round(x · inverse) within -32 and 31, and its sums in float64. */
function tryLevels(inverse: number): void {
  let lx = 0;
  let ll = 0;
  for (let i = 0; i < LENGTH; i++) {
    const scaled = fround(inverse * xs[i]!);
    let level = scaled + ROUNDER - ROUNDER;
    if (!(level >= -TOP && level < TOP)) level = boundedInt(scaled, -TOP, TOP - 1);
    trial[i] = level;
    lx += cubes[i]! * level;
    ll += squares[i]! * level * level;
  }
  wideSums[0] = lx;
  wideSums[1] = ll;
}

/**
 * Whether the float32 comparison with `best` is sure to fail. All terms of each sum have one sign, so that float32 keeps each
 * within 20 · 2^-24 of its value where nothing overflows or underflows: the sides of the comparison differ by 2^-17 of their values at most.
 */
function surelyWorse(best: number): boolean {
  const lx = wideSums[0]!;
  const ll = wideSums[1]!;
  return lx * lx > 1e-30 && best * ll < 1e37 && lx * lx < best * ll * (1 - 2 ** -16);
}

/** The trial's sums in float32. */
function sumUp(): void {
  let lx = 0;
  let ll = 0;
  for (let i = 0; i < LENGTH; i++) {
    const level = trial[i]!;
    lx = fround(lx + fround(cubes[i]! * level));
    ll = fround(ll + fround(fround(squares[i]! * level) * level));
  }
  sums[0] = lx;
  sums[1] = ll;
}
