import { batchTokens, makeMicroBatch, type MicroBatch } from '../core/batch';
import { DatasetError } from '../core/errors';
import type { Example } from '../core/example';
import { Random } from '../core/random';
import { packExamples, type PackedRow } from './pack';

export interface EpochPlanOptions {
  /** Rows a micro-batch: examples, or packed rows with `packing`. */
  batch: number;
  /** Micro-batches an optimizer step. */
  accumulation: number;
  packing: boolean;
  shuffle: boolean;
  seed: number;
  /** Longest row in tokens. */
  maxLength: number;
}

/** Where training stands in the data: `index` optimizer steps of pass `epoch` (both from 0) are done. */
export interface DataCursor {
  epoch: number;
  index: number;
}

/** Keeps the generators of epochs apart from all others that a run's seed feeds. */
const ORDER_STREAM = 0x0e90_0000;

/**
 * The order of the data, epoch by epoch. An epoch's order follows from the seed and its number alone, so that a run can go on
 * at any cursor without replaying what came before.
 */
export class EpochPlan {
  private readonly rows: PackedRow[];
  private order: { epoch: number; rows: PackedRow[] } | null = null;
  /** Optimizer steps an epoch; the last may hold fewer rows. */
  readonly stepsPerEpoch: number;
  /** The most tokens that any micro-batch can hold. */
  readonly largestMicroBatchTokens: number;

  constructor(
    examples: readonly Example[],
    private readonly options: EpochPlanOptions,
  ) {
    if (examples.length === 0) throw new DatasetError('There are no rows to train on; add rows, or hold out fewer of them.');
    this.rows = options.packing ? packExamples(examples, options.maxLength, options.shuffle) : examples.map((example) => [example]);
    this.stepsPerEpoch = Math.ceil(this.rows.length / (options.batch * options.accumulation));
    this.largestMicroBatchTokens = largestMicroBatchTokens(this.rows, options);
  }

  /** The micro-batches of the optimizer step at the cursor. */
  step({ epoch, index }: DataCursor): MicroBatch[] {
    if (index < 0 || index >= this.stepsPerEpoch) {
      throw new RangeError(`step ${index} was asked of an epoch of ${this.stepsPerEpoch} steps`);
    }
    const { batch, accumulation, maxLength } = this.options;
    const first = index * batch * accumulation;
    const rows = this.rowsOf(epoch).slice(first, first + batch * accumulation);
    const batches: MicroBatch[] = [];
    for (let at = 0; at < rows.length; at += batch) batches.push(makeMicroBatch(rows.slice(at, at + batch).flat(), maxLength));
    return batches;
  }

  /** The cursor after the step at `cursor`. */
  after({ epoch, index }: DataCursor): DataCursor {
    return index + 1 < this.stepsPerEpoch ? { epoch, index: index + 1 } : { epoch: epoch + 1, index: 0 };
  }

  /** The cursor after `steps` steps from the start. */
  cursorAt(steps: number): DataCursor {
    return { epoch: Math.floor(steps / this.stepsPerEpoch), index: steps % this.stepsPerEpoch };
  }

  private rowsOf(epoch: number): PackedRow[] {
    if (!this.options.shuffle) return this.rows;
    if (this.order?.epoch !== epoch) {
      const random = new Random(this.options.seed, ORDER_STREAM + epoch);
      this.order = { epoch, rows: random.shuffle([...this.rows]) };
    }
    return this.order.rows;
  }
}

/** The data's order under a recipe: see EpochPlan. */
export function epochPlan(examples: readonly Example[], options: EpochPlanOptions): EpochPlan {
  return new EpochPlan(examples, options);
}

/** The micro-batches of an evaluation: every example once, in order. */
export function evaluationBatches(examples: readonly Example[], options: Pick<EpochPlanOptions, 'batch' | 'packing' | 'maxLength'>): MicroBatch[] {
  if (examples.length === 0) return [];
  const plan = new EpochPlan(examples, { ...options, accumulation: 1, shuffle: false, seed: 0 });
  return Array.from({ length: plan.stepsPerEpoch }, (_, index) => plan.step({ epoch: 0, index })[0]!);
}

/**
 * The most tokens that a micro-batch of these rows can hold: with shuffling any `batch` rows can meet, so the longest
 * ones count; in file order only neighbours do.
 */
function largestMicroBatchTokens(rows: readonly PackedRow[], { batch, shuffle, maxLength }: EpochPlanOptions): number {
  const lengths = rows.map((row) => row.reduce((sum, example) => sum + batchTokens(example, maxLength), 0));
  if (shuffle) return lengths.sort((a, b) => b - a).slice(0, batch).reduce((sum, length) => sum + length, 0);
  let largest = 0;
  for (let at = 0; at < lengths.length; at += batch) {
    largest = Math.max(largest, lengths.slice(at, at + batch).reduce((sum, length) => sum + length, 0));
  }
  return largest;
}
