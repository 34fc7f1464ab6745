import type { Graph } from '../autograd/graph';
import { Dim, type Tensor } from '../runtime/program';
import type { MemoryLedger, Storage } from '../runtime/memory';
import { crossEntropy } from '../shaders/cross-entropy/cross-entropy';
import { gatherRows } from '../shaders/gather-rows/gather-rows';
import { linear } from '../shaders/linear/linear';
import type { Weight } from '../shaders/weight';

/** Logits of one chunk may take this many bytes, and at most this many rows. */
const CHUNK_BYTES = 32 * 2 ** 20;
const CHUNK_ROWS = 128;

/** Rows of a chunk for a vocabulary: a multiple of 64, so that chunks of index lists begin aligned. */
export function headChunkRows(vocabulary: number): number {
  return Math.max(64, Math.min(CHUNK_ROWS, Math.floor(CHUNK_BYTES / (4 * vocabulary) / 64) * 64));
}

/**
 * The places of the tokens that carry loss, and their losses, in chunks that each have a length of their
 * own: a chunk with no trained token is skipped, and untrained tokens never meet the vocabulary.
 */
export class LossRows {
  readonly chunks: { dim: Dim; index: Tensor; targets: Tensor; losses: Tensor }[] = [];
  private readonly index: Storage;
  private readonly targets: Storage;

  /** `maxRows`: the most trained tokens a micro-batch can have. */
  constructor(
    maxRows: number,
    private readonly chunkRows: number,
    memory: MemoryLedger,
  ) {
    const count = Math.ceil(maxRows / chunkRows);
    const bytes = count * chunkRows * 4;
    this.index = memory.declare('trained rows', 'other', bytes);
    this.targets = memory.declare('targets', 'other', bytes);
    const losses = memory.declare('losses', 'other', bytes);
    for (let i = 0; i < count; i++) {
      const dim = new Dim(`chunk ${i}`, chunkRows);
      const offset = i * chunkRows * 4;
      this.chunks.push({
        dim,
        index: this.index.tensor('trained rows', [dim], 'u32', offset, chunkRows * 4),
        targets: this.targets.tensor('targets', [dim], 'i32', offset, chunkRows * 4),
        losses: losses.tensor('losses', [dim], 'f32', offset, chunkRows * 4),
      });
    }
  }

  /** Takes a micro-batch's shifted labels (-1: no loss): uploads the trained rows and sets the chunks' lengths. */
  upload(queue: GPUQueue, targets: Int32Array): void {
    const index: number[] = [];
    targets.forEach((target, row) => {
      if (target >= 0) index.push(row);
    });
    queue.writeBuffer(this.index.buffer, 0, new Uint32Array(index));
    queue.writeBuffer(this.targets.buffer, 0, Int32Array.from(index, (row) => targets[row]!));
    this.chunks.forEach(({ dim }, i) => {
      dim.value = Math.min(Math.max(index.length - i * this.chunkRows, 0), this.chunkRows);
    });
  }
}

/**
 * Cross-entropy over the vocabulary for the trained rows of `hidden` `[M, C]`, chunk by chunk; where
 * `hidden` or the head is trained, each chunk's gradient is formed at once and its logits are let go.
 * `scale` f32 `[1]` multiplies the gradient: 1 / trained tokens of the whole step. `softcap`: the logits' cap, or null.
 */
export function headLoss(g: Graph, hidden: Tensor, head: Weight, rows: LossRows, scale: Tensor, softcap: number | null): void {
  for (const { index, targets, losses } of rows.chunks) {
    g.immediately(() => {
      const logits = linear(g, gatherRows(g, hidden, index), head, { name: 'logits' });
      crossEntropy(g, logits, targets, scale, losses, softcap);
    });
  }
}
