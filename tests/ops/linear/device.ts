/** Runs one linear layer, forward and backward, on the GPU, with sentinels around everything it writes. */
import { Graph } from '../../../src/autograd/graph';
import { dequantize } from '../../../src/core/blocks';
import { rowBytes, WEIGHT_BLOCKS, type WeightType } from '../../../src/core/model';
import { Arena } from '../../../src/runtime/arena';
import { createStorage, destroyBuffer, openDevice, readBuffer, traitsOf, type DeviceTraits, type Gpu } from '../../../src/runtime/device';
import { Pacer } from '../../../src/runtime/pacer';
import { Plan } from '../../../src/runtime/plan';
import { Dim, externalTensor, type DType, type Shape, type Tensor } from '../../../src/runtime/program';
import { linear } from '../../../src/shaders/linear/linear';
import { packRows } from '../../../src/shaders/linear/pack';
import type { FrozenWeight } from '../../../src/shaders/weight';
import { nodeGpu } from '../../gpu';

/** Seeded values in (-1, 1). */
export function values(count: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed * 2654435761 + 12345;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 23 - 1;
  });
}

/** High bytes of the numbers in a block (their place in it, and what to set but for the sign): floats near 1, scales so that weights are. */
const HIGH_BYTES: Record<WeightType, readonly (readonly [number, number])[]> = {
  F32: [[3, 0x3e]],
  F16: [[1, 0x38]],
  BF16: [[1, 0x3e]],
  Q8_0: [[1, 0x18]],
  Q4_0: [[1, 0x28]],
  Q4_1: [
    [1, 0x28],
    [3, 0x30],
  ],
  Q5_0: [[1, 0x24]],
  Q5_1: [
    [1, 0x24],
    [3, 0x30],
  ],
  Q4_K: [
    [1, 0x14],
    [3, 0x18],
  ],
  Q5_K: [
    [1, 0x10],
    [3, 0x18],
  ],
  Q6_K: [[209, 0x0c]],
};

/**
 * Random bytes of `rows` × `columns` stored weights, and their values, which are finite and of the size of 1. Scales of
 * every third block of 256 are subnormal float16 numbers, as those of real models often are.
 */
export function storedWeight(type: WeightType, rows: number, columns: number, seed: number): { bytes: Uint8Array; values: Float32Array } {
  const bytes = new Uint8Array(rows * rowBytes(type, columns));
  const noise = values(bytes.length, seed);
  bytes.forEach((_, i) => (bytes[i] = (noise[i]! + 1) * 128));
  const block = WEIGHT_BLOCKS[type];
  for (let b = 0; b * block.bytes < bytes.length; b++) {
    for (const [place, high] of HIGH_BYTES[type]) {
      const at = b * block.bytes + place;
      bytes[at] = (bytes[at]! & 0x80) | (block.length === 256 && b % 3 === 2 ? 0x02 : high);
    }
  }
  return { bytes, values: dequantize(type, bytes) };
}

let opened: Promise<Gpu> | null = null;

/** One device for the whole file. */
export function testGpu(): Promise<Gpu> {
  opened ??= nodeGpu().then((gpu) => openDevice(gpu));
  return opened;
}

const GUARD = 256;
const SENTINEL = 12345.5;

/** A tensor between two runs of sentinels. */
class Guarded {
  readonly tensor: Tensor;
  private readonly buffer: GPUBuffer;
  private readonly bytes: number;

  constructor(
    private readonly gpu: Gpu,
    name: string,
    shape: Shape,
    length: number,
    data?: ArrayLike<number>,
    dtype: DType = 'f32',
  ) {
    this.bytes = length * 4;
    const total = GUARD + Math.ceil(this.bytes / GUARD) * GUARD + GUARD;
    this.buffer = createStorage(gpu, name, total);
    const all = new Float32Array(total / 4).fill(SENTINEL);
    for (let i = 0; i < length; i++) all[GUARD / 4 + i] = data ? data[i]! : NaN;
    gpu.device.queue.writeBuffer(this.buffer, 0, all);
    this.tensor = externalTensor(name, shape, dtype, { buffer: this.buffer, offset: GUARD, size: Math.ceil(this.bytes / 4) * 4 });
  }

  /** The values; throws where a sentinel was overwritten. */
  async read(): Promise<Float32Array> {
    const all = new Float32Array(await readBuffer(this.gpu, this.buffer, 0, this.buffer.size));
    const length = this.bytes / 4;
    all.forEach((value, i) => {
      const outside = i < GUARD / 4 || i >= GUARD / 4 + length;
      if (outside && value !== SENTINEL) throw new Error(`${this.tensor.name}: wrote outside at ${i - GUARD / 4}`);
    });
    return all.slice(GUARD / 4, GUARD / 4 + length);
  }

  destroy(): void {
    destroyBuffer(this.gpu, this.buffer);
  }
}

export interface LinearRun {
  M: number;
  N: number;
  K: number;
  /** The most rows the program allows; M where absent. */
  maxM?: number;
  x: ArrayLike<number>;
  dy: ArrayLike<number>;
  /** An f32 matrix that is trained, or stored bytes. */
  weight: { values: ArrayLike<number> } | { type: WeightType; bytes: Uint8Array; shardRows?: number; columns?: number };
  into?: ArrayLike<number>;
  scale?: number;
  /** What dw holds before: it is added to. */
  dwBefore?: ArrayLike<number>;
  traits?: Partial<DeviceTraits>;
}

/** Uploads a stored weight in shards of `shardRows` rows. */
export function uploadWeight(gpu: Gpu, type: WeightType, bytes: Uint8Array, rows: number, columns: number, shardRows = rows): FrozenWeight {
  const stored = rowBytes(type, columns);
  const shards: FrozenWeight['shards'] = [];
  for (let first = 0; first < rows; first += shardRows) {
    const count = Math.min(shardRows, rows - first);
    const parts = packRows(type, bytes.subarray(first * stored, (first + count) * stored), columns).map((part, i) => {
      const buffer = createStorage(gpu, `weight ${i}`, part.byteLength);
      gpu.device.queue.writeBuffer(buffer, 0, part);
      return externalTensor(`weight ${i}`, [part.byteLength / 4], 'u32', { buffer, offset: 0, size: Math.ceil(part.byteLength / 16) * 16 });
    });
    shards.push({ firstRow: first, rows: count, parts });
  }
  return { name: 'weight', type, rows, columns, shards };
}

export interface LinearResult {
  y: Float32Array;
  /** What lies in y past the current rows. */
  unused: Float32Array;
  dx: Float32Array;
  /** For an f32 matrix, which is trained. */
  dw: Float32Array | null;
  kernels: string[];
  /** Workgroups of the largest dispatch. */
  largestGrid: number;
}

/** Runs the layer on y and dx that are added to. Throws where anything outside the results was written. */
export async function runLinear(run: LinearRun): Promise<LinearResult> {
  const gpu = await testGpu();
  const { M, N, K } = run;
  const max = run.maxM ?? M;
  const rows = new Dim('tokens', max);
  const x = new Guarded(gpu, 'x', [rows, K], max * K, run.x);
  const dx = new Guarded(gpu, 'dx', [rows, K], max * K, new Float32Array(max * K));
  const dy = new Guarded(gpu, 'dy', [rows, N], max * N, run.dy);
  const y = new Guarded(gpu, 'y', [rows, N], max * N, run.into ?? new Float32Array(max * N));
  const trained = 'values' in run.weight ? new Guarded(gpu, 'w', [N, K], N * K, run.weight.values) : null;
  const dw = new Guarded(gpu, 'dw', [N, K], N * K, run.dwBefore ?? new Float32Array(N * K));
  const stored = 'type' in run.weight ? run.weight : null;
  const frozen = stored && uploadWeight(gpu, stored.type, stored.bytes, N, stored.columns ?? K, stored.shardRows);

  const g = new Graph({ ...traitsOf(gpu), ...run.traits });
  // dx reaches its buffer as a parameter's gradient does: added to what is there.
  g.parameter(x.tensor, dx.tensor);
  if (trained) g.parameter(trained.tensor, dw.tensor);
  const out = linear(g, x.tensor, frozen ?? trained!.tensor, { into: y.tensor, ...(run.scale === undefined ? {} : { scale: run.scale }) });
  g.seed(out, dy.tensor);
  g.backward();
  const dispatches = g.program();
  const arena = new Arena();
  const plan = await Plan.record(gpu, dispatches, arena, arena.layout(dispatches));
  rows.value = M;
  const pacer = new Pacer(gpu);
  await plan.run(pacer);
  await pacer.drain();
  const made = await y.read();
  const result = {
    y: made.subarray(0, M * N),
    unused: made.subarray(M * N),
    dx: (await dx.read()).subarray(0, M * K),
    dw: trained ? await dw.read() : null,
    kernels: dispatches.map((dispatch) => dispatch.kernel.name),
    largestGrid: Math.max(...dispatches.map((dispatch) => dispatch.grid(M).reduce((product, size) => product * size, 1))),
  };
  for (const each of [x, dx, dy, y, dw, ...(trained ? [trained] : [])]) each.destroy();
  for (const part of frozen?.shards.flatMap((shard) => shard.parts) ?? []) destroyBuffer(gpu, part.range!.buffer);
  plan.destroy();
  arena.destroy(gpu);
  return result;
}

/** Root of the summed squared difference over that of the expected values. */
export function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (got[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(difference / Math.max(norm, 1e-30));
}

/** The largest difference over the root mean square of the expected values. */
export function largestError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let largest = 0;
  let squares = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(got[i]! - expected[i]!);
    // NaN is larger than everything.
    if (!(difference <= largest)) largest = difference;
    squares += expected[i]! ** 2;
  }
  return largest / Math.sqrt(Math.max(squares, 1e-30) / expected.length);
}
