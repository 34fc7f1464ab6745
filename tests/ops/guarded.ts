/** Runs recorded ops on the GPU with every tensor in a buffer of its own, sentinels around it and in the rows not in use. */
import { Graph } from '../../src/autograd/graph';
import { Arena } from '../../src/runtime/arena';
import { createStorage, destroyBuffer, openDevice, readBuffer, traitsOf, type DeviceTraits, type Gpu } from '../../src/runtime/device';
import { Pacer } from '../../src/runtime/pacer';
import { Plan } from '../../src/runtime/plan';
import { currentRows, externalTensor, rowLength, tensorBytes, type Dispatch, type DType, type Shape, type Tensor } from '../../src/runtime/program';
import { nodeGpu } from '../gpu';

let opened: Promise<Gpu> | null = null;

/** One device a test file. */
export function testGpu(): Promise<Gpu> {
  opened ??= nodeGpu().then((gpu) => openDevice(gpu));
  return opened;
}

/** Sentinel bytes before and after a tensor. */
const GUARD = 256;
const SENTINEL = 0xc5f2d1b7;

/** Values as the 32-bit words of a dtype. */
export function wordsOf(values: ArrayLike<number>, dtype: DType): Uint32Array<ArrayBuffer> {
  if (dtype === 'f32') return new Uint32Array(Float32Array.from(values).buffer);
  return dtype === 'u32' ? Uint32Array.from(values) : new Uint32Array(Int32Array.from(values).buffer);
}

/** A tensor between sentinels. `values` fill its first rows; without them it is all sentinels until a kernel writes it. */
export class Guarded {
  readonly tensor: Tensor;
  private readonly buffer: GPUBuffer;
  private readonly initial: Uint32Array<ArrayBuffer>;

  constructor(
    private readonly gpu: Gpu,
    name: string,
    shape: Shape,
    dtype: DType,
    values?: ArrayLike<number>,
  ) {
    const sizing = externalTensor(name, shape, dtype, { buffer: null as unknown as GPUBuffer, offset: 0, size: 0 });
    const size = Math.ceil(Math.max(tensorBytes(sizing), 1) / 16) * 16;
    this.buffer = createStorage(gpu, name, size + 2 * GUARD);
    this.tensor = externalTensor(name, shape, dtype, { buffer: this.buffer, offset: GUARD, size });
    this.initial = new Uint32Array(this.buffer.size / 4).fill(SENTINEL);
    if (values) this.initial.set(wordsOf(values, dtype), GUARD / 4);
    this.reset();
  }

  reset(): void {
    this.gpu.device.queue.writeBuffer(this.buffer, 0, this.initial);
  }

  /** The current rows, and where a word outside them is not what it was: an empty list is good. */
  async read(): Promise<{ words: Uint32Array; overwritten: number[] }> {
    const all = new Uint32Array(await readBuffer(this.gpu, this.buffer, 0, this.buffer.size));
    const begin = GUARD / 4;
    const end = begin + currentRows(this.tensor.shape[0]) * rowLength(this.tensor.shape);
    const overwritten: number[] = [];
    all.forEach((word, i) => {
      if ((i < begin || i >= end) && word !== this.initial[i] && overwritten.length < 8) overwritten.push(i - begin);
    });
    return { words: all.slice(begin, end), overwritten };
  }

  destroy(): void {
    destroyBuffer(this.gpu, this.buffer);
  }
}

/** A graph whose scratch tensors are guarded too. */
export class GuardedGraph extends Graph {
  readonly guarded = new Map<Tensor, Guarded>();

  /** `traits` replace the device's own, to try the variants that it would not choose. */
  constructor(
    private readonly gpu: Gpu,
    traits: Partial<DeviceTraits> = {},
  ) {
    super({ ...traitsOf(gpu), ...traits });
  }

  override tensor(name: string, shape: Shape, dtype: DType = 'f32'): Tensor {
    return this.guard(name, shape, dtype);
  }

  /** A guarded tensor that holds `values`. */
  guard(name: string, shape: Shape, dtype: DType, values?: ArrayLike<number>): Tensor {
    const guarded = new Guarded(this.gpu, name, shape, dtype, values);
    this.guarded.set(guarded.tensor, guarded);
    return guarded.tensor;
  }

  /** Runs the program once from the initial values. */
  async run(): Promise<void> {
    for (const guarded of this.guarded.values()) guarded.reset();
    await runProgram(this.gpu, this.program());
  }

  async words(tensor: Tensor): Promise<Uint32Array> {
    return (await this.guarded.get(tensor)!.read()).words;
  }

  async floats(tensor: Tensor): Promise<Float64Array> {
    return Float64Array.from(new Float32Array((await this.words(tensor)).slice().buffer));
  }

  /** What was overwritten outside the current rows of any tensor, in words. */
  async overwritten(): Promise<string[]> {
    const found: string[] = [];
    for (const guarded of this.guarded.values()) {
      const { overwritten } = await guarded.read();
      if (overwritten.length > 0) found.push(`${guarded.tensor.name} at ${overwritten.join(', ')}`);
    }
    return found;
  }

  destroy(): void {
    for (const guarded of this.guarded.values()) guarded.destroy();
  }
}

/** Lays a program out, runs it once and waits for it. */
export async function runProgram(gpu: Gpu, dispatches: readonly Dispatch[]): Promise<void> {
  const arena = new Arena();
  const plan = await Plan.record(gpu, dispatches, arena, arena.layout(dispatches));
  const pacer = new Pacer(gpu);
  await plan.run(pacer);
  await pacer.drain();
  plan.destroy();
  arena.destroy(gpu);
}
