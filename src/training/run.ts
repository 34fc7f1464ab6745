import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import { DeviceError } from '../core/errors';
import { Arena } from '../runtime/arena';
import { mib, traitsOf, type DeviceTraits, type Gpu } from '../runtime/device';
import { MemoryLedger, type MemoryKind } from '../runtime/memory';
import { generate } from '../models/generate';
import { Inference } from '../models/inference';
import { FrozenWeights } from '../models/weights';
import { evaluationBatches } from '../data/batches';
import type { Example } from '../core/example';
import type { SamplePoint } from './events';
import { loraConfig, type Recipe } from './recipe';
import { TrainingSession } from './session';
import { batching, dataPlan } from './data-order';
import type { TrainingJob } from './job';

/** Tokens of a sample answer. */
const SAMPLE_TOKENS = 64;

/** What fixes a run's memory. */
export interface RunShape {
  recipe: Recipe;
  model: ModelSource;
  train: readonly Example[];
  eval: readonly Example[];
  samples: readonly { ids: readonly number[] }[];
}

/** Everything of a run that lies on the GPU: the frozen base, the training programs, and generation for samples. */
export class Run {
  readonly session: TrainingSession;
  private readonly baseMemory = new MemoryLedger();
  private readonly frozen: FrozenWeights | null;
  private readonly inference: Inference | null;

  /** Declares all memory and takes none. */
  constructor(
    shape: RunShape,
    traits: DeviceTraits,
    private gpu: Gpu | null = null,
  ) {
    const { recipe, model } = shape;
    this.frozen = recipe.lora ? new FrozenWeights(model, traits.maxStorageBufferBindingSize, this.baseMemory) : null;
    const arena = new Arena();
    const examples = [...shape.train, ...shape.eval];
    const evalSizes = evaluationBatches(shape.eval, batching(recipe)).map((batch) => batch.ids.length);
    this.session = new TrainingSession(
      {
        config: model.config,
        frozen: this.frozen?.weights ?? null,
        lora: recipe.lora && loraConfig(recipe.lora, model.config),
        training: recipe.training,
        maxTokens: Math.max(dataPlan(shape.train, recipe).largestMicroBatchTokens, ...evalSizes),
        maxPositions: examples.reduce((most, { input_ids }) => Math.max(most, Math.min(input_ids.length, recipe.training.max_length)), 0),
      },
      traits,
      arena,
    );
    const longest = shape.samples.reduce((most, { ids }) => Math.max(most, ids.length), 0);
    const context = Math.min(longest + SAMPLE_TOKENS, model.config.max_position_embeddings);
    this.inference = longest > 0 ? new Inference(model.config, this.session.weights, this.session.lora, traits, context, arena) : null;
  }

  /** Takes the memory and compiles; throws a DeviceError with nothing left behind where the GPU cannot hold the run. */
  static async open(job: TrainingJob, gpu: Gpu, onProgress: OnProgress): Promise<Run> {
    const run = new Run(job, traitsOf(gpu), gpu);
    const { device } = gpu;
    device.pushErrorScope('out-of-memory');
    const failed = await run.allocate(gpu, onProgress).then(
      () => null,
      (error: unknown) => ({ error }),
    );
    // A shortage explains whatever else failed.
    if (await device.popErrorScope()) {
      run.destroy();
      const { total } = run.forecast();
      throw new DeviceError(
        `The GPU has no room for this run, which needs ${mib(total)}. Nothing is lost; choose a shorter length, a smaller adapter, or a smaller model.`,
      );
    }
    if (failed) throw failed.error;
    await run.frozen?.upload(gpu, onProgress);
    return run;
  }

  private async allocate(gpu: Gpu, onProgress: OnProgress): Promise<void> {
    this.baseMemory.allocate(gpu);
    await this.session.allocate(gpu, onProgress);
    await this.inference?.allocate(gpu, onProgress);
  }

  /** Bytes by kind and in all; what `open` takes. */
  forecast(): Record<MemoryKind | 'total', number> {
    const bytes = this.session.forecast();
    for (const ledger of [this.baseMemory, this.inference?.memory]) {
      for (const [kind, n] of Object.entries(ledger?.bytes() ?? {})) bytes[kind as MemoryKind] += n;
    }
    bytes.other += this.inference?.planBytes() ?? 0;
    return { ...bytes, total: Object.values(bytes).reduce((sum, n) => sum + n, 0) };
  }

  /** Parameters and moments, for a checkpoint. */
  save(): Promise<Record<string, Float32Array>> {
    return this.session.parameters.save(this.gpu!);
  }

  /** Greedy answers to the run's sample prompts, as the model stands. */
  async *samples(job: TrainingJob, step: number): AsyncGenerator<SamplePoint> {
    if (!this.inference) return;
    await this.session.settle();
    for (const { prompt, ids } of job.samples) {
      const answer = await generate(this.inference, ids, {
        temperature: 0,
        topK: 0,
        topP: 1,
        seed: 0,
        maxTokens: SAMPLE_TOKENS,
        stopIds: job.stopIds,
      });
      yield { step, prompt, text: job.decode(answer.ids) };
    }
  }

  destroy(): void {
    if (!this.gpu) return;
    this.inference?.destroy();
    this.session.destroy();
    this.baseMemory.destroy(this.gpu);
    this.gpu = null;
  }
}
