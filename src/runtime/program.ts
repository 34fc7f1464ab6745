/**
 * What is to be computed, before any buffer exists: tensors and an ordered list of dispatches.
 * Autograd writes a program; a plan (plan.ts) gives it memory and replays it.
 */

/** A leading dimension whose length is set before each run: tokens, or rows of one chunk. At 0 its dispatches are skipped. */
export class Dim {
  value: number;
  constructor(
    readonly name: string,
    readonly max: number,
  ) {
    this.value = max;
  }
}

export type Rows = number | Dim;
export type Shape = readonly [Rows, ...number[]];
export type DType = 'f32' | 'u32' | 'i32';

/** A range of a GPU buffer that outlives programs: a weight, a parameter, an input. */
export interface BufferRange {
  buffer: GPUBuffer;
  offset: number;
  /** Bytes. */
  size: number;
}

export interface Tensor {
  readonly id: number;
  readonly name: string;
  readonly shape: Shape;
  readonly dtype: DType;
  /** null: scratch, given memory by the plan for as long as it is needed. */
  readonly range: BufferRange | null;
}

/** read: only read. write: written. update: read and written. A tensor may appear once in a dispatch. */
export type Access = 'read' | 'write' | 'update';

/** A compute shader: WGSL whose binding 0 is `var<uniform> rows: vec4<u32>` (x = rows of this dispatch), group 0. */
export interface Kernel {
  name: string;
  code: string;
}

export interface Dispatch {
  kernel: Kernel;
  /** Bindings 1, 2, … in order. */
  bindings: readonly { tensor: Tensor; access: Access }[];
  rows: Rows;
  /** Workgroups for a number of rows. */
  grid: (rows: number) => readonly [number, number, number];
  /** Arithmetic of one row: what pacing and the benches count. */
  flopsPerRow: number;
}

let nextId = 1;

/** A tensor that lives in a buffer of its own. */
export function externalTensor(name: string, shape: Shape, dtype: DType, range: BufferRange): Tensor {
  return { id: nextId++, name, shape, dtype, range };
}

/** A tensor whose memory the plan finds. */
export function scratchTensor(name: string, shape: Shape, dtype: DType = 'f32'): Tensor {
  return { id: nextId++, name, shape, dtype, range: null };
}

export function maxRows(rows: Rows): number {
  return typeof rows === 'number' ? rows : rows.max;
}

export function currentRows(rows: Rows): number {
  return typeof rows === 'number' ? rows : rows.value;
}

/** Values of one row. */
export function rowLength(shape: Shape): number {
  let length = 1;
  for (let i = 1; i < shape.length; i++) length *= shape[i] as number;
  return length;
}

/** Bytes at the largest size; every dtype has four. */
export function tensorBytes(tensor: Tensor): number {
  return 4 * maxRows(tensor.shape[0]) * rowLength(tensor.shape);
}

const MAX_WORKGROUPS = 65535;

/** A grid for `count` independent workgroups, folded over y past 65,535; kernels use `wg.y * num.x + wg.x` and guard. */
export function linearGrid(count: number): [number, number, number] {
  if (count <= MAX_WORKGROUPS) return [Math.max(count, 1), 1, 1];
  const y = Math.ceil(count / MAX_WORKGROUPS);
  return [Math.ceil(count / y), y, 1];
}

/**
 * WGSL with its constants written in front: sizes, flags and scalars that are fixed for a program.
 * Whole numbers become u32 unless the value is `{ f32: x }`; booleans become bool.
 */
export function specialize(name: string, source: string, constants: Record<string, number | boolean | { f32: number }>): Kernel {
  const ofSource = specialized.get(source) ?? new Map<string, Kernel>();
  specialized.set(source, ofSource);
  const key = `${name} ${JSON.stringify(constants)}`;
  const made = ofSource.get(key) ?? { name, code: withConstants(source, constants) };
  ofSource.set(key, made);
  return made;
}

/** A model's layers ask for the same kernels over and over; writing one out costs far more than looking it up. */
const specialized = new Map<string, Map<string, Kernel>>();

function withConstants(source: string, constants: Record<string, number | boolean | { f32: number }>): string {
  const lines = Object.entries(constants).map(([key, value]) => {
    if (typeof value === 'boolean') return `const ${key}: bool = ${value};`;
    if (typeof value === 'number') return `const ${key}: u32 = ${value}u;`;
    return `const ${key}: f32 = ${floatLiteral(value.f32)};`;
  });
  return withDirectivesFirst(lines.join('\n'), source);
}

/** The shortest literal that WGSL reads back as the same f32. */
export function floatLiteral(value: number): string {
  const text = Math.fround(value).toString();
  return /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
}

/** `enable …;` directives must stand before any declaration. */
function withDirectivesFirst(constants: string, source: string): string {
  const directives = source.match(/^enable [^;]+;$/gm) ?? [];
  return [...directives, constants, source.replace(/^enable [^;]+;$/gm, '')].join('\n');
}
