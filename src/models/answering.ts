import type { Adapter } from '../core/adapter';
import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import { traitsOf, type Gpu } from '../runtime/device';
import { MemoryLedger } from '../runtime/memory';
import { FrozenAdapter, Inference } from './inference';
import { FrozenWeights } from './weights';

/** A base model on the GPU that answers, by itself and through adapters, over one copy of its weights. */
export class AnsweringModel {
  private readonly memory = new MemoryLedger();
  private readonly frozen: FrozenWeights;
  private readonly open = new Set<{ inference: Inference; adapter: FrozenAdapter | null }>();

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

  /** A context of its own over the shared weights; `adapter` null answers as the untouched base. */
  async answerer(adapter: Adapter | null, contextLength: number, onProgress?: OnProgress): Promise<Inference> {
    const traits = traitsOf(this.gpu);
    const frozenAdapter = adapter ? new FrozenAdapter(this.source.config, adapter.config) : null;
    const inference = new Inference(this.source.config, this.frozen.weights, frozenAdapter?.pairs ?? new Map(), traits, contextLength);
    frozenAdapter?.allocate(this.gpu);
    if (adapter) frozenAdapter?.upload(this.gpu, adapter);
    await inference.allocate(this.gpu, onProgress);
    this.open.add({ inference, adapter: frozenAdapter });
    return inference;
  }

  destroy(): void {
    for (const { inference, adapter } of this.open) {
      inference.destroy();
      adapter?.destroy(this.gpu);
    }
    this.open.clear();
    this.memory.destroy(this.gpu);
  }
}
