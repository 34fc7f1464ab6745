/**
 * One runner for all ops. For each case of a suite: the result against the f64 reference, gradients against central
 * differences of that reference, three runs bit by bit, sentinels, and the same comparisons with perturbed inputs, which must fail.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DeviceTraits } from '../../src/runtime/device';
import { Dim, type Shape, type Tensor } from '../../src/runtime/program';
import { caseRandom, integers, normals, type OpCase, type OpSuite } from '../../src/shaders/suite';
import { compare, compareNumber, notFinite, rms } from './compare';
import { GuardedGraph, testGpu } from './guarded';

/** Rows that a dim could have beyond those in use. */
const SPARE_ROWS = 3;
/** What the gradient tensors hold before something is added to them. */
const BEFORE = 0.5;
/** Step of the central differences: their own error is about its square, 1e-8, well below every tolerance. */
const STEP = 1e-4;
/** Gradients are never compared more closely than the differences are good for. */
const DIFFERENCE_ERROR = 1e-7;

type Values = Record<string, Float64Array>;

/** Where gradients go: into fresh tensors that are then passed on, or added straight to the parameters' own. */
type Mode = 'fresh' | 'added';

interface Recorded {
  graph: GuardedGraph;
  result: Tensor;
  gradients: Record<string, Tensor>;
}

function valuesOf(c: OpCase): Values {
  return Object.fromEntries(Object.entries(c.inputs).map(([name, { values }]) => [name, values]));
}

function seedOf<C extends OpCase>(suite: OpSuite<C>, c: C, length: number): Float64Array {
  return suite.ownSeed ? new Float64Array(length).fill(suite.ownSeed(c)) : normals(caseRandom(length, 99), length);
}

/** Records a case with all its inputs guarded, backward pass included. */
function record<C extends OpCase>(suite: OpSuite<C>, c: C, graph: GuardedGraph, mode: Mode): Recorded {
  const dims = Object.fromEntries(
    Object.entries(c.dims).map(([name, value]) => {
      const dim = new Dim(name, value + SPARE_ROWS);
      dim.value = value;
      return [name, dim];
    }),
  );
  const shapeOf = ([rows, ...rest]: OpCase['inputs'][string]['shape']): Shape => [typeof rows === 'number' ? rows : dims[rows]!, ...rest];
  const gradients: Record<string, Tensor> = {};
  const tensors = Object.fromEntries(
    Object.entries(c.inputs).map(([name, input]) => {
      const shape = shapeOf(input.shape);
      const tensor = graph.guard(name, shape, input.dtype ?? 'f32', input.values);
      if (input.trained) {
        const before = new Float64Array(input.values.length).fill(mode === 'added' ? BEFORE : 0);
        gradients[name] = graph.guard(`gradient of ${name}`, shape, 'f32', before);
        if (mode === 'added') {
          graph.parameter(tensor, gradients[name]);
        } else {
          // As if an op without arithmetic had made the input from a parameter: its gradient is then a tensor of its own.
          const parameter = graph.guard(`parameter ${name}`, shape, 'f32');
          graph.parameter(parameter, gradients[name]);
          graph.record([parameter], [tensor], () => graph.passGrad(parameter, graph.gradOf(tensor)!));
        }
      }
      return [name, tensor];
    }),
  );
  const result = suite.record(graph, tensors, c);
  if (Object.keys(gradients).length > 0) {
    if (!suite.ownSeed) {
      const seed = seedOf(suite, c, suite.reference(valuesOf(c), c).length);
      graph.seed(result, graph.guard('seed', result.shape, 'f32', seed));
    }
    graph.backward();
  }
  return { graph, result, gradients };
}

/** The reference's derivative along `direction` of the sum of result times seed. */
function differenceAlong<C extends OpCase>(
  suite: OpSuite<C>,
  c: C,
  inputs: Values,
  name: string,
  seed: Float64Array,
  move: (values: Float64Array, by: number) => void,
): number {
  const at = (by: number): Float64Array => {
    const moved = inputs[name]!.slice();
    move(moved, by);
    return suite.reference({ ...inputs, [name]: moved }, c);
  };
  const plus = at(STEP);
  const minus = at(-STEP);
  let sum = 0;
  for (let i = 0; i < plus.length; i++) sum += (plus[i]! - minus[i]!) * seed[i]!;
  return sum / (2 * STEP);
}

/** Each sample evaluates the reference twice, so large cases get few; a random direction has every value in it. */
function sampleCounts(values: number): { entries: number; directions: number } {
  return values > 20_000 ? { entries: 1, directions: 1 } : { entries: 10, directions: 3 };
}

/** Compares a gradient with central differences at some entries and along some random directions. */
function compareGradient<C extends OpCase>(suite: OpSuite<C>, c: C, inputs: Values, name: string, gradient: Float64Array): string | null {
  const broken = notFinite(gradient);
  if (broken) return broken;
  const random = caseRandom(gradient.length, 7);
  const seed = seedOf(suite, c, suite.reference(inputs, c).length);
  const scale = rms(gradient);
  const tolerance = Math.max(suite.tolerance, DIFFERENCE_ERROR);
  const samples = sampleCounts(gradient.length);
  const entries = gradient.length <= samples.entries ? gradient.map((_, i) => i) : integers(random, samples.entries, gradient.length);
  for (const entry of entries) {
    const expected = differenceAlong(suite, c, inputs, name, seed, (values, by) => (values[entry]! += by));
    const complaint = compareNumber(gradient[entry]!, expected, tolerance, scale);
    if (complaint) return `d ${name} at ${entry}: ${complaint}`;
  }
  for (let k = 0; k < samples.directions; k++) {
    const direction = normals(random, gradient.length);
    const expected = differenceAlong(suite, c, inputs, name, seed, (values, by) => direction.forEach((d, i) => (values[i]! += by * d)));
    const actual = gradient.reduce((sum, value, i) => sum + value * direction[i]!, 0);
    const complaint = compareNumber(actual, expected, tolerance, scale * Math.sqrt(gradient.length));
    if (complaint) return `d ${name} along a random direction: ${complaint}`;
  }
  return null;
}

/** Every float input changed by about 2%, unevenly, since some ops do not see a common factor. */
function perturbed(c: OpCase): Values {
  const inputs = valuesOf(c);
  for (const [name, { dtype, values }] of Object.entries(c.inputs)) {
    if ((dtype ?? 'f32') === 'f32') inputs[name] = values.map((value, i) => value * (i % 2 === 0 ? 1.02 : 0.99) + 0.003);
  }
  return inputs;
}

async function gradientsOf({ graph, gradients }: Recorded, before: number): Promise<Values> {
  const all: Values = {};
  for (const [name, tensor] of Object.entries(gradients)) all[name] = (await graph.floats(tensor)).map((value) => value - before);
  return all;
}

/** Declares the tests of one op; `traits` replace the device's own, for variants that it would not choose. */
export function testOp<C extends OpCase>(suite: OpSuite<C>, traits: Partial<DeviceTraits> = {}): void {
  describe([suite.op, ...Object.entries(traits).map(([name, value]) => `${name}=${value}`)].join(' '), () => {
    suite.cases.forEach((c, i) => describe(c.name, () => testCase(suite, c, traits, i < 2)));
  });
}

/** `adding`: also with gradients that are added to something, which is the same arithmetic in all cases. */
function testCase<C extends OpCase>(suite: OpSuite<C>, c: C, traits: Partial<DeviceTraits>, adding: boolean): void {
  let fresh: Recorded;
  let result: Float64Array;
  let gradients: Values;
  const names = Object.keys(c.inputs).filter((name) => c.inputs[name]!.trained);

  beforeAll(async () => {
    fresh = record(suite, c, new GuardedGraph(await testGpu(), traits), 'fresh');
    await fresh.graph.run();
    result = await fresh.graph.floats(fresh.result);
    gradients = await gradientsOf(fresh, 0);
  });
  afterAll(() => fresh.graph.destroy());

  it('gives what the reference gives, and not what it gives for other inputs', () => {
    expect(compare(result, suite.reference(valuesOf(c), c), suite.tolerance)).toBeNull();
    expect(compare(result, suite.reference(perturbed(c), c), suite.tolerance)).not.toBeNull();
  });

  if (names.length > 0) it('has the gradients of the reference, and not those of other inputs', () => {
    for (const name of names) expect(compareGradient(suite, c, valuesOf(c), name, gradients[name]!)).toBeNull();
    const other = names.map((name) => compareGradient(suite, c, valuesOf(c), name, gradients[name]!.map((value) => value * 1.01 + 1e-30)));
    expect(other.some((complaint) => complaint !== null) || names.every((name) => rms(gradients[name]!) === 0)).toBe(true);
  });

  if (adding && names.length > 0 && !suite.inPlace) it('adds its gradients to what is there', async () => {
    const added = record(suite, c, new GuardedGraph(await testGpu(), traits), 'added');
    await added.graph.run();
    const sums = await gradientsOf(added, BEFORE);
    // Adding to 0.5 rounds by 2^-25 of the sum, which the tolerance, a share of the gradient, does not cover where that is small.
    for (const name of names) {
      const scale = rms(gradients[name]!);
      const rounding = scale === 0 ? 0 : (BEFORE * 2 ** -23) / scale;
      expect(compare(sums[name]!, gradients[name]!, suite.tolerance + 2 ** -23 + rounding)).toBeNull();
    }
    expect(await added.graph.overwritten()).toEqual([]);
    added.graph.destroy();
  });

  it('leaves everything around its tensors alone', async () => {
    expect(await fresh.graph.overwritten()).toEqual([]);
  });

  it('gives the same bits three times', async () => {
    const words = async (): Promise<Uint32Array[]> =>
      Promise.all([fresh.result, ...Object.values(fresh.gradients)].map((tensor) => fresh.graph.words(tensor)));
    const first = await words();
    for (let repeat = 0; repeat < 2; repeat++) {
      await fresh.graph.run();
      // Compared by hand: the reporter would print millions of numbers.
      const again = await words();
      expect(again.every((values, i) => values.every((word, j) => word === first[i]![j]))).toBe(true);
    }
  });
}
