import { allModules, loraScale, peftName, type Adapter, type LoraModule } from '../core/adapter';
import { ModelError } from '../core/errors';
import { projectionShape, type ModelConfig } from '../core/model';
import type { OnProgress } from '../core/progress';
import { Arena } from '../runtime/arena';
import { readBuffer, traitsOf, type Gpu } from '../runtime/device';
import { MemoryLedger, type Storage } from '../runtime/memory';
import { Pacer } from '../runtime/pacer';
import type { Tensor } from '../runtime/program';
import type { RowScale } from '../shaders/dora/dora';
import { DoraNorms, frozenProjection, type AdaptedWeight } from './dora-norms';
import type { LoraPair, LoraPairs } from './lora';
import type { DecoderWeights } from './weights';

/** The part of one adapter in a module: rows `first`… of the stacked A, and with DoRA the factor of each row of the weight. */
interface Part {
  adapter: number;
  first: number;
  rank: number;
  gains: Float32Array | null;
}

/** A module's stacked matrices: A `[R, in]`, B `[out, R]`, R the sum of its adapters' ranks; `base` scales W's rows where one has DoRA. */
interface Stack {
  module: LoraModule;
  rank: number;
  parts: Part[];
  A: Storage;
  B: Storage;
  base: Storage | null;
}

/**
 * Adapters on the GPU for a model that only answers: the weight changes of all of them, each times a strength, are added
 * to the weights that they share. Strengths are folded into B, so that changing one rewrites B and nothing else; at 0 the
 * answers are the base's own. A DoRA adapter's change is (m/n - 1)·W + (m/n)·s·B·A.
 */
export class FrozenAdapters {
  readonly memory = new MemoryLedger();
  readonly pairs: LoraPairs;
  private readonly stacks: Stack[] = [];
  /** What a base's rows are divided by where only their factor counts; null without DoRA. */
  private readonly ones: Storage | null;

  /** Declares the memory. Throws a ModelError where an adapter lacks the tensors of a module or names one that the model has not. */
  constructor(
    private readonly config: ModelConfig,
    private readonly adapters: readonly Adapter[],
  ) {
    for (const module of allModules(config)) this.stack(module);
    const known = this.stacks.reduce((sum, { parts }) => sum + 2 * parts.length, 0);
    const held = adapters.reduce((sum, { tensors }) => sum + tensors.size, 0);
    if (known !== held) {
      throw new ModelError(
        `The adapters hold ${held} tensors, and this model takes ${known} of them; one was made for another model.`,
      );
    }
    const widest = Math.max(0, ...this.stacks.map((stack) => (stack.base ? this.shape(stack)[0] : 0)));
    this.ones = widest > 0 ? this.memory.declare('ones', 'adapter', widest * 4) : null;
    this.pairs = new Map(this.stacks.map((stack): [string, LoraPair] => [stack.module.path, this.pair(stack)]));
  }

  private stack(module: LoraModule): void {
    const { path, projection } = module;
    const parts: Part[] = [];
    let rank = 0;
    this.adapters.forEach(({ tensors }, adapter) => {
      const own = tensors.get(peftName(path, 'A'))?.shape[0];
      if (own === undefined || !tensors.has(peftName(path, 'B'))) return;
      parts.push({ adapter, first: rank, rank: own, gains: null });
      rank += own;
    });
    if (rank === 0) return;
    const [rows, columns] = projectionShape(this.config, projection);
    const declare = (name: string, values: number): Storage => this.memory.declare(`${name} of ${path}`, 'adapter', values * 4);
    const scalesBase = parts.some(({ adapter }) => this.adapters[adapter]!.config.use_dora);
    const base = scalesBase ? declare('row scales', rows) : null;
    this.stacks.push({ module, rank, parts, A: declare('A', rank * columns), B: declare('B', rows * rank), base });
  }

  private shape({ module }: Stack): [number, number] {
    return projectionShape(this.config, module.projection);
  }

  private pair(stack: Stack): LoraPair {
    const [rows, columns] = this.shape(stack);
    const { module, rank, A, B, base } = stack;
    const ones = (): Tensor => this.ones!.tensor('ones', [rows], 'f32', 0, rows * 4);
    const scaled: RowScale | null = base && { magnitude: base.tensor(base.label, [rows]), norm: ones() };
    return {
      A: A.tensor(`A of ${module.path}`, [rank, columns]),
      B: B.tensor(`B of ${module.path}`, [rows, rank]),
      scale: 1,
      dropout: null,
      dora: null,
      base: scaled,
    };
  }

  /** Takes the memory and fills it, at full strength. `weights`: the base's, uploaded, whose row norms DoRA needs. */
  async upload(gpu: Gpu, weights: DecoderWeights, onProgress?: OnProgress): Promise<void> {
    this.memory.allocate(gpu);
    if (this.ones) gpu.device.queue.writeBuffer(this.ones.buffer, 0, new Float32Array(this.ones.bytes / 4).fill(1));
    for (const stack of this.stacks) {
      const columns = this.shape(stack)[1];
      for (const { adapter, first } of stack.parts) {
        const { data } = this.adapters[adapter]!.tensors.get(peftName(stack.module.path, 'A'))!;
        gpu.device.queue.writeBuffer(stack.A.buffer, first * columns * 4, data as Float32Array<ArrayBuffer>);
      }
    }
    for (const [index, { config }] of this.adapters.entries()) if (config.use_dora) await this.readGains(gpu, weights, index, onProgress);
    this.setStrengths(gpu, this.adapters.map(() => 1));
  }

  /** Sets how strongly each adapter acts, in the order given to the constructor: 1 as trained, 0 not at all. */
  setStrengths(gpu: Gpu, strengths: readonly number[]): void {
    for (const stack of this.stacks) {
      const rows = this.shape(stack)[0];
      const B = new Float32Array(rows * stack.rank);
      const base = stack.base ? new Float32Array(rows).fill(1) : null;
      for (const part of stack.parts) this.addPart(stack, part, strengths[part.adapter]!, B, base);
      gpu.device.queue.writeBuffer(stack.B.buffer, 0, B);
      if (base) gpu.device.queue.writeBuffer(stack.base!.buffer, 0, base);
    }
  }

  private addPart(stack: Stack, { adapter, first, rank, gains }: Part, strength: number, B: Float32Array, base: Float32Array | null): void {
    const { config, tensors } = this.adapters[adapter]!;
    const { path } = stack.module;
    const { data } = tensors.get(peftName(path, 'B'))!;
    const scale = strength * loraScale(config, path);
    for (let row = 0; row < B.length / stack.rank; row++) {
      const factor = scale * (gains?.[row] ?? 1);
      for (let i = 0; i < rank; i++) B[row * stack.rank + first + i] = factor * data[row * rank + i]!;
      if (gains && base) base[row]! += strength * (gains[row]! - 1);
    }
  }

  /** m/n of one DoRA adapter's rows, from norms that the GPU computes. */
  private async readGains(gpu: Gpu, weights: DecoderWeights, index: number, onProgress?: OnProgress): Promise<void> {
    const { config, tensors, magnitudes } = this.adapters[index]!;
    const memory = new MemoryLedger();
    const arena = new Arena();
    const uploads: [Storage, Float32Array][] = [];
    const stacks = this.stacks.filter(({ parts }) => parts.some(({ adapter }) => adapter === index));
    const adapted = stacks.map(({ module }): AdaptedWeight => {
      const { path } = module;
      const half = (name: 'A' | 'B') => {
        const { shape, data } = tensors.get(peftName(path, name))!;
        const storage = memory.declare(`${name} of ${path}`, 'adapter', data.byteLength);
        uploads.push([storage, data]);
        return storage.tensor(storage.label, shape);
      };
      return { path, weight: frozenProjection(weights, module), A: half('A'), B: half('B'), scale: loraScale(config, path) };
    });
    const norms = new DoraNorms(adapted, traitsOf(gpu), memory, arena);
    memory.allocate(gpu);
    try {
      await norms.allocate(gpu, onProgress);
      for (const [storage, data] of uploads) gpu.device.queue.writeBuffer(storage.buffer, 0, data as Float32Array<ArrayBuffer>);
      await norms.refresh(new Pacer(gpu));
      for (const { module, parts } of stacks) {
        const magnitude = magnitudes.get(module.path);
        if (!magnitude) throw new ModelError(`The adapter lacks the DoRA magnitudes of ${module.path}; save it again.`);
        const lengths = new Float32Array(await readBuffer(gpu, norms.buffer(module.path), 0, magnitude.byteLength));
        parts.find(({ adapter }) => adapter === index)!.gains = magnitude.map((m, row) => (lengths[row] === 0 ? 0 : m / lengths[row]!));
      }
    } finally {
      norms.destroy();
      memory.destroy(gpu);
      arena.destroy(gpu);
    }
  }

  destroy(gpu: Gpu): void {
    this.memory.destroy(gpu);
  }
}
