import type { Adapter } from '../core/adapter';
import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import { traitsOf, type DeviceTraits, type Gpu } from '../runtime/device';
import { MemoryLedger } from '../runtime/memory';
import { FrozenAdapters } from './frozen-adapters';
import { Inference } from './inference';
import { FrozenWeights } from './weights';

/** An adapter and how strongly it acts: 1 as it was trained, 0 not at all. */
export interface AdapterAtWork {
  adapter: Adapter;
  strength: number;
}

/** A context over a shared base, with the adapters that it answers through. */
export interface Answerer {
  readonly inference: Inference;
  /**
   * Sets the adapters' strengths, in the order they were given: all 0 answers as the base. Takes milliseconds, compiles
   * nothing, and forgets what came before (the cached keys and values were another model's).
   */
  setStrengths(strengths: readonly number[]): void;
  /** Frees its cache and its adapters; the base stays. */
  destroy(): void;
}

/**
 * GPU memory, bytes, of a base with a context for each set of adapters ([]: the base by itself), found without a GPU.
 * Throws a ModelError where an adapter was made for another model.
 */
export function answeringBytes(source: ModelSource, traits: DeviceTraits, sets: readonly (readonly Adapter[])[], contextLength: number): number {
  const memory = new MemoryLedger();
  const { weights } = new FrozenWeights(source, traits.maxStorageBufferBindingSize, memory);
  const ledgers = [memory];
  let contexts = 0;
  for (const adapters of sets) {
    const stacked = adapters.length > 0 ? new FrozenAdapters(source.config, adapters) : null;
    if (stacked) ledgers.push(stacked.memory);
    contexts += new Inference(source.config, weights, stacked?.pairs ?? new Map(), traits, contextLength).bytes();
  }
  return ledgers.flatMap((ledger) => Object.values(ledger.bytes())).reduce((sum, bytes) => sum + bytes, contexts);
}

/** A base model on the GPU that answers, by itself and through adapters, over one copy of its weights. */
export class AnsweringModel {
  private readonly memory = new MemoryLedger();
  private readonly frozen: FrozenWeights;
  private readonly open = new Set<Answerer>();

  private constructor(
    private readonly gpu: Gpu,
    private readonly source: ModelSource,
  ) {
    this.frozen = new FrozenWeights(source, traitsOf(gpu).maxStorageBufferBindingSize, this.memory);
  }

  /** Reads the weights onto the GPU. */
  static async load(gpu: Gpu, source: ModelSource, onProgress?: OnProgress): Promise<AnsweringModel> {
    const model = new AnsweringModel(gpu, source);
    model.memory.allocate(gpu);
    await model.frozen.upload(gpu, onProgress);
    return model;
  }

  /**
   * A context of its own over the shared weights. Several adapters act together: the sum of their weight changes. Kernels
   * are compiled once for a set of ranks. Throws a ModelError where an adapter was made for another model.
   */
  async answerer(adapters: readonly AdapterAtWork[], contextLength: number, onProgress?: OnProgress): Promise<Answerer> {
    const { gpu } = this;
    const stacked = adapters.length > 0 ? new FrozenAdapters(this.source.config, adapters.map(({ adapter }) => adapter)) : null;
    const inference = new Inference(this.source.config, this.frozen.weights, stacked?.pairs ?? new Map(), traitsOf(gpu), contextLength);
    const answerer: Answerer = {
      inference,
      setStrengths: (strengths) => {
        stacked?.setStrengths(gpu, strengths);
        inference.reset();
      },
      destroy: () => {
        inference.destroy();
        stacked?.destroy(gpu);
        this.open.delete(answerer);
      },
    };
    this.open.add(answerer);
    try {
      await stacked?.upload(gpu, this.frozen.weights, onProgress);
      answerer.setStrengths(adapters.map(({ strength }) => strength));
      await inference.allocate(gpu, onProgress);
      return answerer;
    } catch (error) {
      answerer.destroy();
      throw error;
    }
  }

  destroy(): void {
    for (const answerer of [...this.open]) answerer.destroy();
    this.memory.destroy(this.gpu);
  }
}
