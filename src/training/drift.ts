import { makeMicroBatch, NO_TARGET } from '../core/batch';
import { DatasetError } from '../core/errors';
import type { Example } from '../core/example';
import { divergence, likeliest } from '../core/logits';
import type { Drift } from '../core/metrics';
import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import { layerwiseLogits } from '../models/layerwise';
import type { Gpu } from '../runtime/device';

/** Tokens that one comparison reads at most, and rows of logits it keeps at most in bytes. */
const MOST_TOKENS = 1024;
const MOST_LOGIT_BYTES = 64 * 2 ** 20;

/**
 * How far a quantised base strays from its original on a person's own rows: logits of both at trained tokens of the first
 * rows that fit. Neither model has to fit the GPU. Throws a DatasetError where no row has a trained token.
 */
export async function measureDrift(
  gpu: Gpu,
  { original, quantised }: { original: ModelSource; quantised: ModelSource },
  examples: readonly Example[],
  maxLength: number,
  onProgress?: OnProgress,
): Promise<Drift> {
  const batch = makeMicroBatch(firstRows(examples, maxLength), maxLength);
  const trained = [...batch.targets.keys()].filter((row) => batch.targets[row] !== NO_TARGET);
  if (trained.length === 0) throw new DatasetError('No row has a token to learn, so the quantised base cannot be compared; correct the rows.');
  const V = original.config.vocab_size;
  const rows = spread(trained, Math.max(1, Math.floor(MOST_LOGIT_BYTES / (4 * V))));
  const p = await layerwiseLogits(gpu, original, batch, rows, onProgress);
  const q = await layerwiseLogits(gpu, quantised, batch, rows, onProgress);
  let kl = 0;
  let same = 0;
  rows.forEach((_, i) => {
    const [a, b] = [p.subarray(i * V, (i + 1) * V), q.subarray(i * V, (i + 1) * V)];
    kl += divergence(a, b);
    if (likeliest(a) === likeliest(b)) same++;
  });
  return { kl: kl / rows.length, same: same / rows.length, tokens: rows.length };
}

function firstRows(examples: readonly Example[], maxLength: number): Example[] {
  const chosen: Example[] = [];
  let tokens = 0;
  for (const example of examples) {
    tokens += Math.min(example.input_ids.length, maxLength);
    if (chosen.length > 0 && tokens > MOST_TOKENS) break;
    chosen.push(example);
  }
  return chosen;
}

/** At most `count` of the values, evenly spread. */
function spread(values: readonly number[], count: number): number[] {
  if (values.length <= count) return [...values];
  return Array.from({ length: count }, (_, i) => values[Math.floor((i * values.length) / count)]!);
}
