import { describe, expect, it } from 'vitest';
import type { Graph } from '../../src/autograd/graph';
import type { Dispatch, Tensor } from '../../src/runtime/program';
import { add } from '../../src/shaders/add/add';
import { gatedLinearUnit } from '../../src/shaders/gated-linear-unit/gated-linear-unit';
import { gatedLinearUnitReference } from '../../src/shaders/gated-linear-unit/gated-linear-unit.reference';
import { linear } from '../../src/shaders/linear/linear';
import { rmsNorm } from '../../src/shaders/rms-norm/rms-norm';
import { rope } from '../../src/shaders/rope/rope';
import { compare } from '../ops/compare';
import { C, gradientBits, M, run, type Outside } from './network';

/** Five roundings of 2^-24 and an exponential: what single ops are held to. */
const TOLERANCE = 2e-6;

const swiGlu = (g: Graph, gate: Tensor, up: Tensor): Tensor => gatedLinearUnit(g, gate, up, 'silu');
const swiGluReference = (gate: Float64Array, up: Float64Array): Float64Array => gatedLinearUnitReference(gate, up, 'silu');

/** Central differences of the sum of seed * swiGlu(gate, up), by gate. */
function gateGradient(gate: Float64Array, up: Float64Array, seed: Float64Array): Float64Array {
  const h = 1e-5;
  const plus = swiGluReference(gate.map((value) => value + h), up);
  const minus = swiGluReference(gate.map((value) => value - h), up);
  return seed.map((value, i) => (value * (plus[i]! - minus[i]!)) / (2 * h));
}

const sum = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value + b[i]!);

describe('gradients that meet', () => {
  it('adds up where a tensor is used twice', async () => {
    const { outside } = await run((g, o) => {
      const x = o.parameter('x');
      g.seed(add(g, swiGlu(g, x, o.input('first')), swiGlu(g, x, o.input('second'))), o.input('seed'));
    });
    const [x, first, second, seed] = await Promise.all(['x', 'first', 'second', 'seed'].map((name) => outside.values(name)));
    const expected = sum(gateGradient(x!, first!, seed!), gateGradient(x!, second!, seed!));
    expect(compare(await outside.gradient('x'), expected, TOLERANCE)).toBeNull();
    expect(compare(await outside.gradient('x'), gateGradient(x!, first!, seed!), TOLERANCE)).not.toBeNull();
    outside.destroy();
  });

  it('does not reach the other side of a sum, whose gradient shares its memory', async () => {
    const { outside } = await run((g, o) => {
      // Tensors made by ops, so that their gradients are tensors of the program and can be shared.
      const a = swiGlu(g, o.parameter('a'), o.input('one'));
      const b = swiGlu(g, o.parameter('b'), o.input('two'));
      // Recorded before the sum: its gradient for `a` comes when a and b already share the seed.
      const used = swiGlu(g, a, o.input('three'));
      g.seed(add(g, add(g, a, b), used), o.input('seed'));
    });
    const [b, two, seed] = await Promise.all(['b', 'two', 'seed'].map((name) => outside.values(name)));
    expect(compare(await outside.gradient('b'), gateGradient(b!, two!, seed!), TOLERANCE)).toBeNull();
    const [a, one, three] = await Promise.all(['a', 'one', 'three'].map((name) => outside.values(name)));
    const atA = sum(seed!, gateGradient(swiGluReference(a!, one!), three!, seed!));
    expect(compare(await outside.gradient('a'), gateGradient(a!, one!, atA), 2 * TOLERANCE)).toBeNull();
    expect(await outside.values('seed')).toEqual(seed);
    outside.destroy();
  });

  it('is copied before an op changes it in place', async () => {
    const half = C / 2;
    const { outside } = await run((g, o) => {
      const positions = g.tensor('positions', [M], 'u32');
      const turned = swiGlu(g, o.parameter('turned'), o.input('one'));
      const straight = swiGlu(g, o.parameter('straight'), o.input('two'));
      // Whatever the positions are: all rows of the table are the same quarter turn.
      const table = o.input('x quarter', 1, C);
      rope(g, turned, positions, table, C);
      g.seed(add(g, turned, straight), o.input('seed'));
    });
    const [straight, two, seed, turned, one, table] = await Promise.all(
      ['straight', 'two', 'seed', 'turned', 'one', 'x quarter'].map((name) => outside.values(name)),
    );
    expect(compare(await outside.gradient('straight'), gateGradient(straight!, two!, seed!), TOLERANCE)).toBeNull();
    const back = seed!.map((value, i) => {
      const column = i % C;
      const pair = column % half;
      const other = seed![column < half ? i + half : i - half]!;
      return value * table![pair]! + (column < half ? 1 : -1) * other * table![half + pair]!;
    });
    expect(compare(await outside.gradient('turned'), gateGradient(turned!, one!, back), 2 * TOLERANCE)).toBeNull();
    outside.destroy();
  });

  it('is not computed for what is not trained', async () => {
    const { graph, outside } = await run((g, o) => {
      const x = swiGlu(g, o.input('x'), o.input('y'));
      const z = swiGlu(g, x, o.parameter('z'));
      expect(g.needsGrad(x)).toBe(false);
      expect(g.needsGrad(z)).toBe(true);
      g.seed(z, o.input('seed'));
    });
    const backward = graph.dispatches.filter(({ kernel }) => kernel.name === 'swiglu backward');
    expect(backward).toHaveLength(1);
    expect(graph.gradOf(graph.dispatches[0]!.bindings[0]!.tensor)).toBeNull();
    outside.destroy();
  });
});

/** A gated layer with a residual, as in a transformer: its matrices are trained. */
function layer(g: Graph, o: Outside, x: Tensor, name: string): () => Tensor {
  const norm = o.parameter(`${name} norm`, 1, C);
  const gate = o.parameter(`${name} gate`, 2 * C, C);
  const up = o.parameter(`${name} up+`, 2 * C, C);
  const down = o.parameter(`${name} down`, C, 2 * C);
  return () => {
    const normed = rmsNorm(g, x, norm, 1e-5);
    return add(g, x, linear(g, swiGlu(g, linear(g, normed, gate), linear(g, normed, up)), down));
  };
}

/** Four layers, the same bits whether their activations are kept or computed again. */
function network(recompute: boolean): (g: Graph, o: Outside) => void {
  return (g, o) => {
    let x = swiGlu(g, o.parameter('input'), o.input('one'));
    for (const name of ['a', 'b', 'c', 'd']) {
      const input = x;
      const body = layer(g, o, input, name);
      x = recompute ? g.checkpoint([input], body) : body();
    }
    g.seed(x, o.input('seed'));
  };
}

describe('checkpoint', () => {
  it('gives the same gradients bit for bit, with less scratch memory', async () => {
    const kept = await run(network(false));
    const again = await run(network(true));
    const bits = await gradientBits(kept);
    expect(Object.keys(bits)).toHaveLength(17);
    expect(Object.values(bits).every((value) => /[^A]/.test(value))).toBe(true);
    expect(await gradientBits(again)).toEqual(bits);
    expect(again.bytes).toBeLessThan(0.6 * kept.bytes);
    expect(again.graph.program().length).toBeGreaterThan(kept.graph.program().length);
    for (const { outside } of [kept, again]) outside.destroy();
  });

  it('records nothing where nothing inside is trained', async () => {
    const { graph, outside } = await run((g, o) => {
      const x = o.input('x');
      const y = g.checkpoint([x], () => swiGlu(g, x, o.input('gate')));
      expect(g.needsGrad(y)).toBe(false);
      const z = o.parameter('z');
      g.seed(add(g, y, z), o.input('seed'));
    });
    expect(graph.dispatches.filter(({ kernel }) => kernel.name === 'swiglu')).toHaveLength(1);
    expect(await outside.gradient('z')).toEqual(await outside.values('seed'));
    outside.destroy();
  });
});

describe('the arena', () => {
  it('gives the same gradients bit for bit as a buffer for each tensor', async () => {
    const shared = await run(network(true), 'arena');
    const apart = await run(network(true), 'apart');
    expect(await gradientBits(shared)).toEqual(await gradientBits(apart));
    for (const { outside } of [shared, apart]) outside.destroy();
  });
});

describe('immediately', () => {
  /** Two heads on one hidden state; `seedHead` starts the backward pass where the head ends. */
  const heads = (g: Graph, o: Outside, around: (fn: () => void) => void): void => {
    const hidden = swiGlu(g, o.parameter('x'), o.input('one'));
    for (const name of ['first', 'second']) {
      const weight = o.parameter(name, 5 * C, C);
      const seed = o.input(`seed ${name}`, M, 5 * C);
      around(() => g.seed(linear(g, hidden, weight), seed));
    }
  };

  it('gives the gradients of a plain backward pass, and goes back before it goes on', async () => {
    const plain = await run((g, o) => heads(g, o, (fn) => fn()));
    const atOnce = await run((g, o) => heads(g, o, (fn) => g.immediately(fn)));
    for (const name of plain.outside.trained) {
      // The order of the two heads differs, so the sums may round differently.
      expect(compare(await atOnce.outside.gradient(name), await plain.outside.gradient(name), TOLERANCE)).toBeNull();
    }
    const names = atOnce.graph.dispatches.map(({ kernel }) => kernel.name);
    expect(names.indexOf('matmul nn F32')).toBeLessThan(names.lastIndexOf('matmul nt F32'));
    for (const { outside } of [plain, atOnce]) outside.destroy();
  });
});

describe('program', () => {
  it('leaves out what nothing outside depends on', async () => {
    const { graph, outside } = await run((g, o) => {
      const x = o.parameter('x');
      const unused = swiGlu(g, x, o.input('one'));
      swiGlu(g, unused, o.input('two'));
      // The sum's value is not asked for, only its gradient.
      g.seed(add(g, x, swiGlu(g, x, o.input('three'))), o.input('seed'));
    });
    expect(namesOf(graph.dispatches)).toEqual(['swiglu', 'swiglu', 'swiglu', 'add', 'copy', 'swiglu backward']);
    expect(namesOf(graph.program())).toEqual(['copy', 'swiglu backward']);
    outside.destroy();
  });
});

const namesOf = (dispatches: readonly Dispatch[]): string[] => dispatches.map(({ kernel }) => kernel.name);
