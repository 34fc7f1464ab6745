import type { Graph } from '../autograd/graph';
import { Random } from '../core/random';
import type { DType, Tensor } from '../runtime/program';

/** One input of a case. Its first dimension is a number, or the name of one of the case's dims: set only when the plan runs. */
export interface CaseInput {
  shape: readonly [number | string, ...number[]];
  dtype?: DType;
  /** Row by row; what is stored as f32 has been rounded to f32. */
  values: Float64Array;
  /** True where the op has a gradient for it. */
  trained?: boolean;
}

/** One size and setting of an op, with its inputs. */
export interface OpCase {
  name: string;
  dims: Record<string, number>;
  inputs: Record<string, CaseInput>;
}

/** An op as the tests see it: how it is recorded, what it should compute, and on what it is tried. */
export interface OpSuite<C extends OpCase> {
  op: string;
  /** Largest error of a value, relative to itself plus the root mean square of its tensor; `reason` says why so much. */
  tolerance: number;
  reason: string;
  cases: readonly C[];
  /** Records the op and returns its result. */
  record: (g: Graph, tensors: Record<string, Tensor>, c: C) => Tensor;
  /** The result in f64, from the inputs' values by name. */
  reference: (inputs: Record<string, Float64Array>, c: C) => Float64Array;
  /** True where the op changes its input: then there is no gradient tensor to add to. */
  inPlace?: boolean;
  /** Where the op starts the backward pass itself: the gradient of its result that it starts from. */
  ownSeed?: (c: C) => number;
}

/** Normally distributed f32 values. */
export function normals(random: Random, count: number, scale = 1): Float64Array {
  return Float64Array.from({ length: count }, () => Math.fround(random.normal() * scale));
}

/** Whole numbers in [0, below). */
export function integers(random: Random, count: number, below: number): Float64Array {
  return Float64Array.from({ length: count }, () => random.below(below));
}

/** A generator for a case, the same in each run. */
export function caseRandom(...numbers: readonly number[]): Random {
  return new Random(numbers.reduce((hash, n) => (Math.imul(hash, 31) + n) >>> 0, 17));
}
