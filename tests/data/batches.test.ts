import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { batchTokens, makeMicroBatch } from '../../src/core/batch';
import { IGNORED, trainedTokens, type Example } from '../../src/core/example';
import { epochPlan, evaluationBatches, type DataCursor, type EpochPlanOptions } from '../../src/data/batches';
import { packExamples } from '../../src/data/pack';
import { splitRows } from '../../src/data/split';

/** An example whose ids tell its row and position: row * 1000 + t. The first `masked` labels carry no loss. */
function example(row: number, length: number, masked = 1, segment_ids?: number[]): Example {
  const input_ids = Int32Array.from({ length }, (_, t) => row * 1000 + t);
  const labels = input_ids.map((id, t) => (t < masked ? IGNORED : id));
  return { row, input_ids, labels, ...(segment_ids ? { segment_ids: Int32Array.from(segment_ids) } : {}) };
}

const options: EpochPlanOptions = { batch: 2, accumulation: 2, packing: false, shuffle: true, seed: 7, maxLength: 64 };

describe('a micro-batch', () => {
  it('lays examples end to end, with targets shifted and kept inside each', () => {
    const batch = makeMicroBatch([example(1, 4, 2), example(2, 3)], 64);
    expect([...batch.ids]).toEqual([1000, 1001, 1002, 1003, 2000, 2001, 2002]);
    expect([...batch.targets]).toEqual([-1, 1002, 1003, -1, 2001, 2002, -1]);
    expect([...batch.positions]).toEqual([0, 1, 2, 3, 0, 1, 2]);
    expect([...batch.starts]).toEqual([0, 0, 0, 0, 4, 4, 4]);
    expect([...batch.ends]).toEqual([4, 4, 4, 4, 7, 7, 7]);
    expect(batch.trained).toBe(4);
  });

  it('splits packed rows at their segments and leaves padding segments out', () => {
    const packed = example(1, 7, 0, [5, 5, 5, 6, 6, -1, -1]);
    packed.labels.fill(IGNORED, 5);
    const batch = makeMicroBatch([packed], 64);
    expect([...batch.ids]).toEqual([1000, 1001, 1002, 1003, 1004]);
    expect([...batch.targets]).toEqual([1001, 1002, -1, 1004, -1]);
    expect([...batch.starts]).toEqual([0, 0, 0, 3, 3]);
    expect(batch.trained).toBe(trainedTokens(packed));
    expect(batchTokens(packed, 64)).toBe(5);
  });

  it('keeps untrained tokens at the end of a row, and cuts rows at the limit', () => {
    const row = example(1, 6);
    row.labels.fill(IGNORED, 4);
    expect(makeMicroBatch([row], 64).ids.length).toBe(6);
    const cut = makeMicroBatch([row], 3);
    expect([...cut.targets]).toEqual([1001, 1002, -1]);
  });
});

describe('packing', () => {
  const lengths = fc.array(fc.integer({ min: 2, max: 40 }), { minLength: 1, maxLength: 60 });

  it('keeps every example once and every row within the limit', () => {
    fc.assert(
      fc.property(lengths, fc.boolean(), (sizes, anyOrder) => {
        const examples = sizes.map((size, i) => example(i + 1, size));
        const rows = packExamples(examples, 40, anyOrder);
        for (const row of rows) expect(row.reduce((sum, item) => sum + item.input_ids.length, 0)).toBeLessThanOrEqual(40);
        const order = rows.flat().map((item) => item.row);
        if (!anyOrder) expect(order).toEqual(examples.map((item) => item.row));
        expect([...order].sort((a, b) => a - b)).toEqual(examples.map((item) => item.row));
        expect(packExamples(examples, 40, anyOrder)).toEqual(rows);
      }),
    );
  });

  it('fills rows to nine tenths and more where there are many short examples', () => {
    const examples = Array.from({ length: 200 }, (_, i) => example(i + 1, 2 + ((i * 37) % 30)));
    const rows = packExamples(examples, 64, true);
    const tokens = examples.reduce((sum, item) => sum + item.input_ids.length, 0);
    expect(tokens / (rows.length * 64)).toBeGreaterThan(0.9);
  });
});

describe('an epoch plan', () => {
  const examples = Array.from({ length: 11 }, (_, i) => example(i + 1, 3 + i));
  const rowsOf = (plan: ReturnType<typeof epochPlan>, epoch: number): number[] =>
    Array.from({ length: plan.stepsPerEpoch }, (_, index) => plan.step({ epoch, index }))
      .flat()
      .flatMap((batch) => [...batch.ids].filter((id) => id % 1000 === 0).map((id) => id / 1000));

  it('sees every row once an epoch, in an order of its own each time', () => {
    const plan = epochPlan(examples, options);
    const first = rowsOf(plan, 0);
    const second = rowsOf(plan, 1);
    expect([...first].sort((a, b) => a - b)).toEqual(examples.map((item) => item.row));
    expect([...second].sort((a, b) => a - b)).toEqual(examples.map((item) => item.row));
    expect(second).not.toEqual(first);
    expect(rowsOf(epochPlan(examples, { ...options, seed: 8 }), 0)).not.toEqual(first);
    expect(rowsOf(epochPlan(examples, { ...options, shuffle: false }), 3)).toEqual(examples.map((item) => item.row));
  });

  it('counts a last partial accumulation as a step', () => {
    const plan = epochPlan(examples, options);
    expect(plan.stepsPerEpoch).toBe(3);
    expect(plan.step({ epoch: 0, index: 0 }).length).toBe(2);
    expect(plan.step({ epoch: 0, index: 2 }).map((batch) => new Set(batch.starts).size)).toEqual([2, 1]);
    expect(() => plan.step({ epoch: 0, index: 3 })).toThrow(RangeError);
  });

  it('goes on at any cursor as if it had never stopped', () => {
    const whole = epochPlan(examples, options);
    let cursor: DataCursor = { epoch: 0, index: 0 };
    for (let step = 0; step < 8; step++) {
      expect(whole.cursorAt(step)).toEqual(cursor);
      expect(epochPlan(examples, options).step(cursor)).toEqual(whole.step(cursor));
      cursor = whole.after(cursor);
    }
    expect(cursor).toEqual({ epoch: 2, index: 2 });
  });

  it('never exceeds the largest micro-batch that it announced, and reaches it in file order', () => {
    for (const packing of [false, true]) {
      for (const shuffle of [false, true]) {
        const plan = epochPlan(examples, { ...options, packing, shuffle });
        const sizes = [0, 1, 2, 3].flatMap((epoch) =>
          Array.from({ length: plan.stepsPerEpoch }, (_, index) => plan.step({ epoch, index }).map((batch) => batch.ids.length)).flat(),
        );
        expect(Math.max(...sizes)).toBeLessThanOrEqual(plan.largestMicroBatchTokens);
        if (!shuffle) expect(Math.max(...sizes)).toBe(plan.largestMicroBatchTokens);
      }
    }
  });

  it('refuses to plan without rows', () => {
    expect(() => epochPlan([], options)).toThrow(/no rows to train on/);
    expect(evaluationBatches([], options)).toEqual([]);
  });

  it('evaluates every row once', () => {
    const batches = evaluationBatches(examples, options);
    expect(batches.length).toBe(6);
    expect(batches.reduce((sum, batch) => sum + batch.trained, 0)).toBe(examples.reduce((sum, item) => sum + trainedTokens(item), 0));
  });
});

describe('the held-out split', () => {
  const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

  it('takes every tenth row of 789, from the first', () => {
    const { train, held } = splitRows(numbers(789), 0.1);
    expect(held.length).toBe(79);
    expect(held.slice(0, 3)).toEqual([0, 10, 20]);
    expect(held.at(-1)).toBe(780);
    expect(train.length).toBe(710);
  });

  it('takes the share that was asked for, evenly spread, and leaves rows to train on', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 500 }), fc.double({ min: 0, max: 0.5, noNaN: true }), (count, fraction) => {
        const { train, held } = splitRows(numbers(count), fraction);
        expect([...train, ...held].sort((a, b) => a - b)).toEqual(numbers(count));
        if (count > 0) expect(train.length).toBeGreaterThan(0);
        // One row more or less is rounding.
        if (count > 1) expect(Math.abs(held.length - count * fraction)).toBeLessThanOrEqual(1);
        const gaps = held.slice(1).map((row, i) => row - held[i]!);
        if (gaps.length > 0) expect(Math.max(...gaps) - Math.min(...gaps)).toBeLessThanOrEqual(1);
      }),
    );
    expect(splitRows([1], 0.5)).toEqual({ train: [1], held: [] });
  });
});
