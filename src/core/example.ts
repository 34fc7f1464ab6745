/**
 * One tokenised row, ready to train on. `labels[t]` is `input_ids[t]` where that token is trained on,
 * else -100; as in transformers, the label of position t is compared with the logits of t - 1
 * (so a label at position 0 is never used).
 */
export interface Example {
  /** The row's number in its file, counted from 1. */
  row: number;
  input_ids: Int32Array;
  labels: Int32Array;
  /** Restart points of packed examples (from pre-tokenised data): same number = same example. */
  segment_ids?: Int32Array;
}

/** The label of a token that carries no loss. */
export const IGNORED = -100;

/** Tokens of an example that carry loss: labels other than -100 after the first token of each segment. */
export function trainedTokens(example: Example): number {
  const { labels, segment_ids } = example;
  let count = 0;
  for (let t = 1; t < labels.length; t++) {
    if (labels[t] !== IGNORED && (!segment_ids || segment_ids[t] === segment_ids[t - 1])) count++;
  }
  return count;
}
