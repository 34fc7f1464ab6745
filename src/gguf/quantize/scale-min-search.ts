import { ROUNDER, boundedInt } from './nearest-int';

const { abs, fround, max, min: least, sqrt } = Math;

/** Weights that share a scale and a min. */
const LENGTH = 32;
const STEP = fround(0.1);

/** Float32 numbers kept as float64, which spares conversions in the loops: the weights x, their importance w, x - min, and a trial's levels l. */
const [xs, importance, shifted, trial] = [0, 1, 2, 3].map(() => new Float64Array(LENGTH)) as [Float64Array, Float64Array, Float64Array, Float64Array];
/** In float64: Σw, Σwx, Σwx² and the largest |x|. */
const moments = new Float64Array(4);
/** In float64: Σwl, Σwl² and Σwlx. */
const wideSums = new Float64Array(3);
/** In float32, added up in ggml's order: Σw, Σwx, Σwl, Σwl² and Σwlx. */
const sums = new Float32Array(5);
/** The scale and the min (not positive) that fit a trial's levels. */
const fit = new Float32Array(2);

/** Which grids are tried: levels 0 to `top`, the spacing of (max - min) / (top + first + 0.1 i) for i = 0 to `tries`. */
export interface GridSearch {
  top: number;
  first: number;
  tries: number;
}

/**
 * The best of several grids level · scale - min for the 32 weights from `at`, as ggml's make_qkx2_quants finds it: for each spacing
 * a least-squares fit of scale and min to the levels, weighted with |x| + rms; the first of least squared error wins, and its min
 * is what later trials start from. Arithmetic that decides is float32, in ggml's order; trials that are sure to lose are
 * dropped in float64 before, which is several times faster.
 * Writes the levels from `to` on and the min (not negative) to mins[block]; returns the scale.
 */
export function searchScaleAndMin(
  values: Float32Array,
  at: number,
  search: GridSearch,
  levels: Uint8Array,
  to: number,
  mins: Float32Array,
  block: number,
): number {
  const { top } = search;
  weigh(values, at);
  let min = 0;
  let most = xs[0]!;
  for (let i = 0; i < LENGTH; i++) {
    min = least(min, xs[i]!);
    most = max(most, xs[i]!);
  }
  if (most === min) {
    levels.fill(0, to, to + LENGTH);
    mins[block] = -min;
    return 0;
  }
  shift(min);
  const inverse = fround(top / fround(most - min));
  let scale = fround(1 / inverse);
  tryLevels(inverse, top);
  let best = squaredError(scale, min, Infinity);
  let hopeless = surelyWorse(best);
  let fitted = false;
  keep(levels, to);
  for (let i = 0; i <= search.tries; i++) {
    tryLevels(fround(fround(fround(search.first + fround(STEP * i)) + top) / fround(most - min)), top);
    // Levels that have won already would give the same error again.
    if (leastError() > hopeless || (fitted && isKept(levels, to)) || !fitLevels()) continue;
    const error = squaredError(fit[0]!, fit[1]!, best);
    if (error < best) {
      keep(levels, to);
      best = error;
      hopeless = surelyWorse(best);
      fitted = true;
      scale = fit[0]!;
      min = fit[1]!;
      shift(min);
    }
  }
  mins[block] = -min;
  return scale;
}

/** importance = |x| + root mean square, and the sums over the weights. */
function weigh(values: Float32Array, at: number): void {
  let squares = 0;
  for (let i = 0; i < LENGTH; i++) {
    const x = values[at + i]!;
    xs[i] = x;
    squares = fround(squares + fround(x * x));
  }
  const rms = fround(sqrt(fround(squares / LENGTH)));
  let sumW = 0;
  let sumX = 0;
  moments.fill(0);
  for (let i = 0; i < LENGTH; i++) {
    const x = xs[i]!;
    const w = fround(rms + abs(x));
    importance[i] = w;
    sumW = fround(sumW + w);
    sumX = fround(sumX + fround(w * x));
    moments[0]! += w;
    moments[1]! += w * x;
    moments[2]! += w * x * x;
    moments[3] = max(moments[3]!, abs(x));
  }
  sums[0] = sumW;
  sums[1] = sumX;
}

function shift(min: number): void {
  for (let i = 0; i < LENGTH; i++) shifted[i] = fround(xs[i]! - min);
}

function keep(levels: Uint8Array, to: number): void {
  for (let i = 0; i < LENGTH; i++) levels[to + i] = trial[i]!;
}

function isKept(levels: Uint8Array, to: number): boolean {
  for (let i = 0; i < LENGTH; i++) if (levels[to + i] !== trial[i]) return false;
  return true;
}

/** trial = round((x - min) · inverse) within 0 and `top`, and its sums in float64. */
function tryLevels(inverse: number, top: number): void {
  let l = 0;
  let ll = 0;
  let lx = 0;
  for (let i = 0; i < LENGTH; i++) {
    const scaled = fround(inverse * shifted[i]!);
    let level = scaled + ROUNDER - ROUNDER;
    if (!(level >= 0 && level <= top)) level = boundedInt(scaled, 0, top);
    trial[i] = level;
    const weighted = importance[i]! * level;
    l += weighted;
    ll += weighted * level;
    lx += weighted * xs[i]!;
  }
  wideSums[0] = l;
  wideSums[1] = ll;
  wideSums[2] = lx;
}

/** The squared error of the trial's levels under the best of all scales and mins; NaN where that is ill-conditioned. */
function leastError(): number {
  const [w, x, xx] = [moments[0]!, moments[1]!, moments[2]!];
  const [l, ll, lx] = [wideSums[0]!, wideSums[1]!, wideSums[2]!];
  const determinant = w * ll - l * l;
  if (!(determinant > 1e-9 * w * ll)) return NaN;
  return xx - ((w * lx - x * l) * lx + (ll * x - l * lx) * x) / determinant;
}

/**
 * The least error from which on a trial cannot have a float32 error below `best`. With u = 2^-24, X = max |x| and residuals r,
 * a scale is at most 2(X + max |r|), so that level · scale + min - x, rounded thrice, is off by no more than 65u(X + max |r|);
 * and max |r| is at most 8 weighted root mean squares of r, for importances differ by a factor of 64 at most from Σw.
 * Both bounds are doubled here. Outside the range in which float32 neither overflows nor underflows, nothing is sure.
 */
function surelyWorse(best: number): number {
  const largest = moments[3]!;
  if (!(largest > 1e-9 && largest < 1e9)) return Infinity;
  const root = sqrt(best) * (1 + 2 ** -13) + sqrt(moments[0]!) * largest * 2 ** -17;
  return root * root;
}

/** The least-squares fit to the trial's levels, in float32; false where there is none. A min above 0 becomes 0. */
function fitLevels(): boolean {
  sumUp();
  const [w, x, l, ll, lx] = [sums[0]!, sums[1]!, sums[2]!, sums[3]!, sums[4]!];
  const determinant = fround(fround(w * ll) - fround(l * l));
  if (!(determinant > 0)) return false;
  const min = fround(fround(fround(ll * x) - fround(l * lx)) / determinant);
  fit[0] = min > 0 ? lx / ll : fround(fround(w * lx) - fround(x * l)) / determinant;
  fit[1] = min > 0 ? 0 : min;
  return true;
}

/** The trial's sums in float32. */
function sumUp(): void {
  let l = 0;
  let ll = 0;
  let lx = 0;
  for (let i = 0; i < LENGTH; i++) {
    const level = trial[i]!;
    const weighted = fround(importance[i]! * level);
    l = fround(l + weighted);
    ll = fround(ll + fround(weighted * level));
    lx = fround(lx + fround(weighted * xs[i]!));
  }
  sums[2] = l;
  sums[3] = ll;
  sums[4] = lx;
}

/** Σw(trial · scale + min - x)², or what it has come to where it passes `limit`: its terms are never negative. */
function squaredError(scale: number, min: number, limit: number): number {
  let error = 0;
  for (let i = 0; i < LENGTH; i++) {
    const difference = fround(fround(fround(scale * trial[i]!) + min) - xs[i]!);
    error = fround(error + fround(importance[i]! * fround(difference * difference)));
    if (error > limit) return error;
  }
  return error;
}
