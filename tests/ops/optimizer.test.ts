import { describe, expect, it } from 'vitest';
import { Dim, type Tensor } from '../../src/runtime/program';
import { adamW, type OptimizerBank } from '../../src/shaders/optimizer/adamW';
import { fill } from '../../src/shaders/optimizer/fill';
import { gradNorm } from '../../src/shaders/optimizer/gradNorm';
import { HYPER_LENGTH, packHyper, type OptimizerSettings } from '../../src/shaders/optimizer/hyper';
import { adamWReference, gradNormReference, type AdamWState } from '../../src/shaders/optimizer/optimizer.reference';
import { sumLosses } from '../../src/shaders/optimizer/sumLosses';
import { caseRandom, normals } from '../../src/shaders/suite';
import { compare, compareNumber } from './compare';
import { GuardedGraph, testGpu } from './guarded';

const settings: OptimizerSettings = { adam_beta1: 0.9, adam_beta2: 0.999, adam_epsilon: 1e-8, weight_decay: 0.1, max_grad_norm: 1 };
const LEARNING_RATE = 1e-2;

const graph = async (): Promise<GuardedGraph> => new GuardedGraph(await testGpu());

const vector = (g: GuardedGraph, name: string, values: ArrayLike<number>): Tensor => g.guard(name, [values.length], 'f32', values);

describe('fill', () => {
  it('sets every value of a tensor that needs more than 65,535 workgroups, and nothing else', async () => {
    const g = await graph();
    // Odd, so that threads take single values.
    const tensor = g.guard('large', [65_536 * 256 + 1], 'f32');
    fill(g, tensor, 0.25);
    await g.run();
    const words = await g.words(tensor);
    expect(words.every((word) => word === 0x3e800000)).toBe(true);
    expect(await g.overwritten()).toEqual([]);
    g.destroy();
  });

  it('sets only the rows in use', async () => {
    const g = await graph();
    const rows = new Dim('rows', 9);
    const tensor = g.guard('rows', [rows, 3], 'f32');
    fill(g, tensor, -1);
    rows.value = 5;
    await g.run();
    expect([...(await g.floats(tensor))]).toEqual(Array.from({ length: 15 }, () => -1));
    expect(await g.overwritten()).toEqual([]);
    g.destroy();
  });
});

describe('sumLosses', () => {
  it.each([1, 7, 256, 10_007])('adds the sum and the number of %i losses to what is there', async (R) => {
    const g = await graph();
    const values = normals(caseRandom(R), R).map(Math.abs);
    const rows = new Dim('rows', R + 5);
    const losses = g.guard('losses', [rows], 'f32', values);
    const into = vector(g, 'into', [10, 100, 7, 8]);
    sumLosses(g, losses, into);
    rows.value = R;
    await g.run();
    const [sum, count, ...rest] = await g.floats(into);
    const expected = 10 + values.reduce((a, b) => a + b, 0);
    // 40 values a lane one after the other, then 16 and 16: about 70 roundings of 2^-24.
    expect(compareNumber(sum!, expected, 4e-6, 0)).toBeNull();
    expect(count).toBe(100 + R);
    expect(rest).toEqual([7, 8]);
    g.destroy();
  });
});

async function normOf(banks: readonly ArrayLike<number>[], maxNorm: number): Promise<{ norm: number; clip: number; broken: number; rest: number[] }> {
  const g = await graph();
  const gradients = banks.map((values, i) => vector(g, `gradient ${i}`, values));
  const hyper = vector(g, 'hyper', packHyper({ ...settings, max_grad_norm: maxNorm }, LEARNING_RATE, 1));
  const state = vector(g, 'state', [9, 9, 9, 9, 9, 9, 9, 9]);
  gradNorm(g, gradients, hyper, state);
  await g.run();
  const [norm, clip, broken, ...rest] = await g.floats(state);
  expect(await g.overwritten()).toEqual([]);
  g.destroy();
  return { norm: norm!, clip: clip!, broken: broken!, rest };
}

describe('gradNorm', () => {
  // 300,000 values: each of 256 workgroups strides over two stretches.
  const banks = [normals(caseRandom(1), 1), normals(caseRandom(2), 1031), normals(caseRandom(3), 300_001)];

  it('is the norm over all banks, with the factor that clips to it', async () => {
    for (const maxNorm of [1, 1e6, 0]) {
      const expected = gradNormReference(banks, maxNorm);
      const actual = await normOf(banks, maxNorm);
      // Sums of 2 vectors a lane, then four levels of 16: under 70 roundings of 2^-24, halved by the root.
      expect(compareNumber(actual.norm, expected.norm, 3e-6, 0)).toBeNull();
      expect(compareNumber(actual.clip, expected.clip, 3e-6, 0)).toBeNull();
      expect(actual.broken).toBe(0);
      expect(actual.rest).toEqual([9, 9, 9, 9, 9]);
    }
  });

  it.each([
    ['NaN', NaN],
    ['infinity', Infinity],
    ['minus infinity', -Infinity],
    ['a value whose square is too large', 1e30],
  ])('says that a gradient with %s in it is broken', async (_, value) => {
    const values = Float32Array.from(banks[1]!);
    values[1030] = value;
    expect((await normOf([banks[0]!, values], 1)).broken).toBe(1);
  });
});

interface BankOnGpu extends OptimizerBank {
  values: AdamWState;
}

function bank(g: GuardedGraph, n: number): BankOnGpu {
  const random = caseRandom(n, 5);
  const values = { parameter: normals(random, n), expAvg: normals(random, n, 0.1), expAvgSq: normals(random, n, 0.1).map((v) => Math.fround(v * v)) };
  return {
    parameter: vector(g, 'parameter', values.parameter),
    gradient: vector(g, 'gradient', normals(random, n)),
    expAvg: vector(g, 'expAvg', values.expAvg),
    expAvgSq: vector(g, 'expAvgSq', values.expAvgSq),
    values,
  };
}

describe('adamW', () => {
  it.each([1, 30, 1027, 65_536])('makes the step of the reference for %i parameters', async (n) => {
    for (const t of [1, 2, 1000]) {
      const g = await graph();
      const { values, ...tensors } = bank(g, n);
      const gradient = normals(caseRandom(n, t), n);
      tensors.gradient = vector(g, 'this gradient', gradient);
      const clip = 0.37;
      adamW(g, tensors, vector(g, 'hyper', packHyper(settings, LEARNING_RATE, t)), vector(g, 'state', [1, clip, 0, 0, 0, 0, 0, 0]));
      await g.run();
      const before = values.parameter.slice();
      adamWReference(values, gradient, settings, LEARNING_RATE, t, Math.fround(clip));
      // About ten roundings of 2^-24 each; square root and division may be 3 units off.
      for (const name of ['parameter', 'expAvg', 'expAvgSq'] as const) {
        expect(compare(await g.floats(tensors[name]), values[name], 2e-6)).toBeNull();
      }
      expect(compare(await g.floats(tensors.parameter), before, 2e-6)).not.toBeNull();
      expect(await g.overwritten()).toEqual([]);
      g.destroy();
    }
  });

  it('changes nothing where the gradient is said to be broken', async () => {
    const g = await graph();
    const { values, ...tensors } = bank(g, 64);
    adamW(g, tensors, vector(g, 'hyper', packHyper(settings, LEARNING_RATE, 1)), vector(g, 'state', [NaN, NaN, 1, 0, 0, 0, 0, 0]));
    await g.run();
    for (const name of ['parameter', 'expAvg', 'expAvgSq'] as const) expect([...(await g.floats(tensors[name]))]).toEqual([...values[name]]);
    g.destroy();
  });

  it('takes its constants from 16 numbers, rounded once', () => {
    const hyper = packHyper(settings, LEARNING_RATE, 1);
    expect(hyper.length).toBe(HYPER_LENGTH);
    // At the first step the two corrections undo the moments' weights: the step is lr * sign(gradient).
    expect([...hyper]).toEqual(
      [0.999, 0.1, 0.001, 1e-8, 1 - 1e-3, 1e-1, Math.sqrt(0.001), 1, ...Array.from({ length: 8 }, () => 0)].map((value, i) =>
        i === 1 || i === 2 || i === 5 || i === 6 ? expect.closeTo(value, 8) : Math.fround(value),
      ),
    );
  });
});
