import type { Random } from '../core/random';

export interface SamplingOptions {
  /** 0 is greedy: the most likely token, the lowest id among equals. */
  temperature: number;
  /** Keep only this many most likely tokens; 0 keeps all. */
  topK: number;
  /** Keep the fewest tokens whose probabilities reach this sum; 1 keeps all. */
  topP: number;
}

/** Draws the next token from logits `[V]`. The same random state draws the same token. */
export function sampleToken(logits: Float32Array, options: SamplingOptions, random: Random): number {
  if (options.temperature <= 0) return argmax(logits);
  const order = candidates(logits, options.topK);
  const top = logits[order[0]!]!;
  const weights = order.map((id) => Math.exp((logits[id]! - top) / options.temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let kept = 0;
  let mass = 0;
  while (kept < order.length && (kept === 0 || mass < options.topP * total)) mass += weights[kept++]!;
  let draw = random.uniform() * mass;
  for (let i = 0; i < kept; i++) {
    draw -= weights[i]!;
    if (draw < 0) return order[i]!;
  }
  return order[kept - 1]!;
}

export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** Ids from most to least likely, at most `topK` of them (all where it is 0); equal logits by id. */
function candidates(logits: Float32Array, topK: number): number[] {
  const ids = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
  return topK > 0 ? ids.slice(0, topK) : ids;
}
