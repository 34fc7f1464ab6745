import { Random } from '../core/random';
import type { Inference } from './inference';
import { sampleToken, type SamplingOptions } from './sampling';

export interface GenerateOptions extends SamplingOptions {
  maxTokens: number;
  seed: number;
  /** Ids that end the answer; they are not part of it. */
  stopIds: ReadonlySet<number>;
  /** Called with each token as it is drawn. */
  onToken?: (id: number) => void;
  /** Asked before each token; true ends the answer where it is. */
  stopped?: () => boolean;
}

export interface Generated {
  ids: number[];
  reason: 'end' | 'limit' | 'stopped';
  /** Seconds until the first token, and for all. */
  secondsToFirst: number;
  seconds: number;
}

/** Continues a prompt token by token. The same prompt, seed and device give the same answer. */
export async function generate(inference: Inference, prompt: readonly number[], options: GenerateOptions): Promise<Generated> {
  const random = new Random(options.seed, 2);
  const begun = performance.now();
  const since = (): number => (performance.now() - begun) / 1000;
  const ids: number[] = [];
  let secondsToFirst = 0;
  const finish = (reason: Generated['reason']): Generated => ({ ids, reason, secondsToFirst, seconds: since() });
  inference.reset();
  const room = Math.min(options.maxTokens, inference.contextLength - prompt.length);
  let next = prompt;
  while (ids.length < room) {
    if (options.stopped?.()) return finish('stopped');
    const logits = await inference.extend(next);
    const id = sampleToken(logits, options, random);
    if (ids.length === 0) secondsToFirst = since();
    if (options.stopIds.has(id)) return finish('end');
    ids.push(id);
    options.onToken?.(id);
    next = [id];
  }
  return finish('limit');
}
