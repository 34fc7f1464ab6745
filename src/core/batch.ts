import { IGNORED, type Example } from './example';

/**
 * What one forward and backward pass works on: segments (examples, or the parts of packed rows) laid end to end
 * in one flat list of M tokens, without padding. Attention stays inside a segment.
 */
export interface MicroBatch {
  /** [M] token ids. */
  ids: Uint32Array;
  /** [M] the token that the logits at this position are compared with (already shifted by one), or -1 for no loss. */
  targets: Int32Array;
  /** [M] position inside the segment, from 0. */
  positions: Uint32Array;
  /** [M] flat index at which this token's segment begins. */
  starts: Uint32Array;
  /** [M] flat index one past the end of this token's segment. */
  ends: Uint32Array;
  /** Number of targets other than -1. */
  trained: number;
}

/** The target of a position without loss. */
export const NO_TARGET = -1;

/**
 * Lays examples out for one pass; each is cut to its first `maxLength` tokens. An example's `segment_ids` split it into
 * segments that do not see each other; a segment in which nothing is trained (padding) is left out, since no loss
 * depends on it.
 */
export function makeMicroBatch(examples: readonly Example[], maxLength: number): MicroBatch {
  const segments = examples.flatMap((example) => trainedSegments(example, maxLength));
  const total = segments.reduce((sum, segment) => sum + segment.end - segment.begin, 0);
  const batch: MicroBatch = {
    ids: new Uint32Array(total),
    targets: new Int32Array(total).fill(NO_TARGET),
    positions: new Uint32Array(total),
    starts: new Uint32Array(total),
    ends: new Uint32Array(total),
    trained: 0,
  };
  let start = 0;
  for (const { example, begin, end } of segments) {
    const stop = start + end - begin;
    for (let t = begin; t < end; t++) {
      const at = start + t - begin;
      batch.ids[at] = example.input_ids[t]!;
      batch.positions[at] = t - begin;
      batch.starts[at] = start;
      batch.ends[at] = stop;
      const label = t + 1 < end ? example.labels[t + 1]! : IGNORED;
      if (label === IGNORED) continue;
      batch.targets[at] = label;
      batch.trained++;
    }
    start = stop;
  }
  return batch;
}

interface Segment {
  example: Example;
  begin: number;
  end: number;
}

function trainedSegments(example: Example, maxLength: number): Segment[] {
  const { input_ids, labels, segment_ids } = example;
  const length = Math.min(input_ids.length, maxLength);
  const segments: Segment[] = [];
  for (let begin = 0; begin < length; ) {
    let end = begin + 1;
    let trained = false;
    for (; end < length && (!segment_ids || segment_ids[end] === segment_ids[begin]); end++) trained ||= labels[end] !== IGNORED;
    if (trained) segments.push({ example, begin, end });
    begin = end;
  }
  return segments;
}

/** Tokens that an example takes in a micro-batch: its length without segments in which nothing is trained. */
export function batchTokens(example: Example, maxLength: number): number {
  return trainedSegments(example, maxLength).reduce((sum, { begin, end }) => sum + end - begin, 0);
}
