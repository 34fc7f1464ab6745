import type { Drift, Recipe } from '../workers/api';
import { formatCount } from './format';

/** What the base is held in while an adapter is trained over it. */
export type BaseType = Recipe['quantize_base'];

export const BASE_NAMES: Record<BaseType, string> = { none: 'As it is', Q8_0: '8 bits (Q8_0)', Q4_0: '4 bits (Q4_0)' };

/** Over what both sides of a conversation answer, in words. */
export function baseWords(type: Exclude<BaseType, 'none'>, asTrained: boolean): string {
  const why = asTrained ? 'as it was when this run trained over it' : 'which takes less memory and strays a little from the original';
  return `Both sides answer over the base in ${BASE_NAMES[type]}, ${why}.`;
}

/** What quantising the base costs, in words: "The 4-bit model picks the same next word as the original at 96% of 212 places …". */
export function driftWords({ kl, same, tokens }: Drift, type: BaseType): string {
  const bits = type === 'Q8_0' ? '8-bit' : '4-bit';
  return `The ${bits} model picks the same next word as the original at ${sameShare(same)} of ${formatCount(tokens)} places in your rows (mean KL ${formatKl(kl)}).`;
}

/** A share of places as a percentage that says 100% only where it is all of them. */
export function sameShare(share: number): string {
  const percent = 100 * share;
  if (percent === 100) return '100%';
  return percent >= 99 ? `${(Math.floor(percent * 10) / 10).toFixed(1)}%` : `${Math.floor(percent + 1e-9)}%`;
}

/** A KL divergence in nats: "0.021", "3.2e-6"; a rounding error below zero is none. */
export function formatKl(kl: number): string {
  if (!(kl > 0)) return kl <= 0 ? '0' : 'not a number';
  return kl < 1e-3 ? kl.toExponential(1) : Number(kl.toPrecision(2)).toString();
}
