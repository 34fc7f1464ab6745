import { loraScale, magnitudeName, peftName, targetedModules, type Adapter, type LoraConfig, type LoraModule } from '../core/adapter';
import type { MicroBatch } from '../core/batch';
import { TrainingError } from '../core/errors';
import type { ModelConfig } from '../core/model';
import type { OnProgress } from '../core/progress';
import { Graph } from '../autograd/graph';
import { attentionShape } from '../models/attention-shape';
import { decoder, type Attend } from '../models/decoder';
import { headChunkRows, headLoss, LossRows } from '../models/head';
import { DoraNorms, frozenProjection } from '../models/dora-norms';
import { loraSpecs, type LoraPair, type LoraPairs } from '../models/lora';
import { Parameters, type ParameterSpec } from '../models/parameters';
import { RopeTables } from '../models/rope-table';
import { trainedWeights, weightSpecs, type DecoderWeights } from '../models/weights';
import { Arena } from '../runtime/arena';
import { readBuffer, type DeviceTraits, type Gpu } from '../runtime/device';
import { MemoryLedger, type MemoryKind, type Storage } from '../runtime/memory';
import { Pacer } from '../runtime/pacer';
import { Plan, planBytes } from '../runtime/plan';
import { Dim, type Dispatch, type Tensor } from '../runtime/program';
import { attention } from '../shaders/attention/attention';
import { adamW } from '../shaders/optimizer/adamW';
import { fill } from '../shaders/optimizer/fill';
import { gradNorm } from '../shaders/optimizer/gradNorm';
import { packHyper, HYPER_LENGTH } from '../shaders/optimizer/hyper';
import { sumLosses } from '../shaders/optimizer/sumLosses';
import type { Recipe } from './recipe';

/** What a training program is built from: everything that fixes its shape. */
export interface TrainingSpec {
  config: ModelConfig;
  /** The frozen base; null where every weight is trained. */
  frozen: DecoderWeights | null;
  /** null where every weight is trained. */
  lora: LoraConfig | null;
  training: Recipe['training'];
  /** The most tokens a micro-batch can hold, and the most positions a row can have. */
  maxTokens: number;
  maxPositions: number;
}

export interface StepResult {
  /** Mean loss over the step's trained tokens. */
  loss: number;
  /** Global gradient norm before clipping. */
  gradNorm: number;
}

/**
 * Three programs over one memory: a micro-batch forward and backward, the optimizer's update, and an
 * evaluation. Declared without a GPU (the forecast reads `memory` then), recorded once, replayed every step.
 */
export class TrainingSession {
  readonly parameters: Parameters;
  /** The adapter as it answers, without dropout. */
  readonly lora: LoraPairs;
  private readonly norms: DoraNorms | null;
  readonly weights: DecoderWeights;
  readonly memory = new MemoryLedger();
  private readonly tokens: Dim;
  private readonly inputs: { ids: Storage; positions: Storage; starts: Storage; ends: Storage };
  private readonly ropes: RopeTables;
  private readonly dropoutKey: Storage;
  private readonly hyper: Storage;
  private readonly scale: Storage;
  private readonly state: Storage;
  private readonly lossRows: LossRows;
  private readonly programs: { micro: Dispatch[]; update: Dispatch[]; evaluate: Dispatch[] };
  private readonly slots: Record<'micro' | 'update' | 'evaluate', Map<Tensor, number>>;
  /** True where layers are run again in the backward pass to save memory. */
  readonly recompute: boolean;
  private plans: Record<'micro' | 'update' | 'evaluate', Plan> | null = null;
  private gpu: Gpu | null = null;
  private pacer: Pacer | null = null;

  /** `arena` may be shared with programs that never run at the same time as training (generation). */
  constructor(
    private readonly spec: TrainingSpec,
    private readonly traits: DeviceTraits,
    readonly arena = new Arena(),
  ) {
    const { config, lora, maxTokens } = spec;
    this.tokens = new Dim('tokens', maxTokens);
    const specs: ParameterSpec[] = lora ? loraSpecs(config, lora) : weightSpecs(config);
    this.parameters = new Parameters(specs, traits.maxStorageBufferBindingSize, this.memory);
    this.weights = spec.frozen ?? trainedWeights(config, this.parameters);
    const input = (name: string): Storage => this.memory.declare(name, 'other', maxTokens * 4);
    this.inputs = { ids: input('ids'), positions: input('positions'), starts: input('starts'), ends: input('ends') };
    this.ropes = new RopeTables(config, spec.maxPositions, this.memory);
    this.dropoutKey = this.memory.declare('dropout key', 'other', 16);
    this.hyper = this.memory.declare('hyperparameters', 'other', HYPER_LENGTH * 4);
    this.scale = this.memory.declare('gradient scale', 'other', 4);
    this.state = this.memory.declare('step state', 'other', 512);
    this.lossRows = new LossRows(maxTokens, headChunkRows(config.vocab_size), this.memory);
    this.norms = lora?.use_dora ? this.doraNorms(lora) : null;
    this.lora = lora ? this.loraPairs(lora) : new Map();
    const lean = this.build(true);
    const quick = this.build(false);
    this.recompute = scratchBytes(quick) > KEEP_ACTIVATIONS_BELOW;
    this.programs = this.recompute ? lean : quick;
    this.slots = {
      micro: this.arena.layout(this.programs.micro),
      update: this.arena.layout(this.programs.update),
      evaluate: this.arena.layout(this.programs.evaluate),
    };
  }

  /** Bytes that `allocate` takes, by kind; the sum is what the device will have given out. */
  forecast(): Record<MemoryKind, number> {
    const bytes = this.memory.bytes();
    const { vocab_size } = this.spec.config;
    const logits = Math.min(tensorBytesOf(headChunkRows(vocab_size), vocab_size), this.arena.bytes);
    bytes.logits += logits;
    bytes.activations += this.arena.bytes - logits;
    for (const program of Object.values(this.programs)) bytes.other += planBytes(program);
    bytes.other += this.norms?.planBytes() ?? 0;
    return bytes;
  }

  /** Takes the memory, compiles the kernels, and fills in what does not change. */
  async allocate(gpu: Gpu, onProgress?: OnProgress): Promise<void> {
    this.gpu = gpu;
    this.pacer = new Pacer(gpu);
    this.memory.allocate(gpu);
    const record = (name: 'micro' | 'update' | 'evaluate'): Promise<Plan> =>
      Plan.record(gpu, this.programs[name], this.arena, this.slots[name], onProgress);
    this.plans = { micro: await record('micro'), update: await record('update'), evaluate: await record('evaluate') };
    await this.norms?.allocate(gpu, onProgress);
    this.ropes.upload(gpu);
  }

  /** Fills the trained tensors with an adapter's values. DoRA's magnitudes that it lacks become the norms of the rows as they are. */
  async uploadAdapter(adapter: Adapter): Promise<void> {
    for (const [name, { data }] of adapter.tensors) this.parameters.upload(this.gpu!, name, data);
    for (const [path, data] of adapter.magnitudes) this.parameters.upload(this.gpu!, magnitudeName(path), data);
    if (!this.norms || adapter.magnitudes.size > 0) return;
    await this.settle();
    for (const path of this.lora.keys()) this.parameters.copy(this.gpu!, magnitudeName(path), this.norms.buffer(path));
  }

  /** Brings what is computed from the parameters up to date, for programs that read them after they changed: generation. */
  async settle(): Promise<void> {
    await this.norms?.refresh(this.pacer!);
  }

  /**
   * One optimizer step over its micro-batches (`step` counted from 0). The loss is normalised by the trained
   * tokens of the whole step; where there are none, loss and gradient are 0. Throws a TrainingError, with the parameters unchanged, where it is not finite.
   */
  async step(batches: readonly MicroBatch[], step: number, learningRate: number): Promise<StepResult> {
    const trained = batches.reduce((sum, batch) => sum + batch.trained, 0);
    await this.accumulate(batches, step, 1 / Math.max(trained, 1));
    await this.update(step, learningRate);
    const { lossSum, gradNorm, broken } = await this.readState();
    const loss = lossSum / Math.max(trained, 1);
    if (broken) {
      throw new TrainingError(
        `The loss broke at step ${step + 1} (loss ${loss}, gradient norm ${gradNorm}). The parameters of step ${step} are intact; resume from the last checkpoint with a lower learning rate.`,
      );
    }
    return { loss, gradNorm };
  }

  /** Adds the gradients of micro-batches to the gradient banks; `scale` multiplies every token's gradient. */
  async accumulate(batches: readonly MicroBatch[], step: number, scale: number): Promise<void> {
    const { queue } = this.gpu!.device;
    queue.writeBuffer(this.scale.buffer, 0, new Float32Array([scale]));
    queue.writeBuffer(this.state.buffer, 0, new Float32Array(4));
    await this.settle();
    for (const [index, batch] of batches.entries()) {
      this.uploadBatch(batch);
      queue.writeBuffer(this.dropoutKey.buffer, 0, new Uint32Array([this.spec.training.seed, 0, step, index]));
      await this.plans!.micro.run(this.pacer!);
    }
  }

  /** Mean loss and trained tokens over micro-batches, without dropout, nothing changed. */
  async evaluate(batches: readonly MicroBatch[]): Promise<{ loss: number; tokens: number }> {
    this.gpu!.device.queue.writeBuffer(this.state.buffer, 0, new Float32Array(4));
    await this.settle();
    let tokens = 0;
    for (const batch of batches) {
      this.uploadBatch(batch);
      tokens += batch.trained;
      await this.plans!.evaluate.run(this.pacer!);
    }
    const { lossSum } = await this.readState();
    return { loss: lossSum / tokens, tokens };
  }

  /** Seconds by kernel of one micro-batch and one update, for benches. */
  async profile(batch: MicroBatch): Promise<Awaited<ReturnType<Plan['profile']>>> {
    this.gpu!.device.queue.writeBuffer(this.scale.buffer, 0, new Float32Array([1 / batch.trained]));
    this.uploadBatch(batch);
    const totals = await this.plans!.micro.profile();
    for (const [name, entry] of await this.plans!.update.profile()) totals.set(name, entry);
    return totals;
  }

  destroy(): void {
    const gpu = this.gpu;
    if (!gpu) return;
    for (const plan of Object.values(this.plans ?? {})) plan.destroy();
    this.norms?.destroy();
    this.memory.destroy(gpu);
    this.arena.destroy(gpu);
    this.gpu = null;
  }

  private async update(step: number, learningRate: number): Promise<void> {
    const { training } = this.spec;
    this.gpu!.device.queue.writeBuffer(this.hyper.buffer, 0, packHyper(training, learningRate, step + 1));
    await this.plans!.update.run(this.pacer!);
  }

  private async readState(): Promise<{ lossSum: number; gradNorm: number; broken: boolean }> {
    const values = new Float32Array(await readBuffer(this.gpu!, this.state.buffer, 0, 512));
    return { lossSum: values[0]!, gradNorm: values[64]!, broken: values[66] !== 0 };
  }

  private uploadBatch(batch: MicroBatch): void {
    const { queue } = this.gpu!.device;
    const { ids, positions, starts, ends } = this.inputs;
    this.tokens.value = batch.ids.length;
    queue.writeBuffer(ids.buffer, 0, batch.ids as Uint32Array<ArrayBuffer>);
    queue.writeBuffer(positions.buffer, 0, batch.positions as Uint32Array<ArrayBuffer>);
    queue.writeBuffer(starts.buffer, 0, batch.starts as Uint32Array<ArrayBuffer>);
    queue.writeBuffer(ends.buffer, 0, batch.ends as Uint32Array<ArrayBuffer>);
    this.ropes.fit(this.gpu!, batch.positions);
    this.lossRows.upload(queue, batch.targets);
  }

  private adapted(lora: LoraConfig): (LoraModule & Pick<LoraPair, 'A' | 'B' | 'scale'>)[] {
    return targetedModules(this.spec.config, lora.target_modules).map((module) => ({
      ...module,
      A: this.parameters.tensor(peftName(module.path, 'A')),
      B: this.parameters.tensor(peftName(module.path, 'B')),
      scale: loraScale(lora, module.path),
    }));
  }

  private doraNorms(lora: LoraConfig): DoraNorms {
    const adapted = this.adapted(lora).map((module) => ({ ...module, weight: frozenProjection(this.weights, module) }));
    return new DoraNorms(adapted, this.traits, this.memory, this.arena);
  }

  private loraPairs(lora: LoraConfig): LoraPairs {
    return new Map(
      this.adapted(lora).map(({ path, A, B, scale }): [string, LoraPair] => {
        const dora = this.norms && { magnitude: this.parameters.tensor(magnitudeName(path)), norm: this.norms.norm(path) };
        return [path, { A, B, scale, dropout: null, dora, base: null }];
      }),
    );
  }

  /** The adapter as it is trained; each module draws its own mask. */
  private droppingPairs(p: number): LoraPairs {
    if (p === 0) return this.lora;
    const key = this.dropoutKey.tensor('dropout key', [4], 'u32');
    return new Map([...this.lora].map(([path, pair], salt) => [path, { ...pair, dropout: { p, key, salt } }]));
  }

  private build(recompute: boolean): { micro: Dispatch[]; update: Dispatch[]; evaluate: Dispatch[] } {
    const micro = new Graph(this.traits);
    this.parameters.attach(micro);
    this.forward(micro, this.droppingPairs(this.spec.lora?.lora_dropout ?? 0), recompute);
    micro.backward();

    const evaluate = new Graph(this.traits);
    this.forward(evaluate, this.lora, false);

    const update = new Graph(this.traits);
    const hyper = this.hyper.tensor('hyperparameters', [HYPER_LENGTH]);
    const state = this.state.tensor('norm state', [8], 'f32', 256, 32);
    const gradients = this.parameters.banks.map((bank) => bank.gradient);
    gradNorm(update, gradients, hyper, state);
    for (const bank of this.parameters.banks) adamW(update, bank, hyper, state);
    for (const gradient of gradients) fill(update, gradient, 0);
    return { micro: micro.program(), update: update.program(), evaluate: evaluate.program() };
  }

  private forward(g: Graph, lora: LoraPairs, recompute: boolean): void {
    const { config } = this.spec;
    const tensor = (storage: Storage): Tensor => storage.tensor(storage.label, [this.tokens], 'u32');
    const spans = { starts: tensor(this.inputs.starts), ends: tensor(this.inputs.ends) };
    const attend: Attend = (graph, layer, q, k, v) => attention(graph, q, k, v, spans, attentionShape(config, layer));
    const hidden = decoder(g, {
      config,
      weights: this.weights,
      lora,
      ids: tensor(this.inputs.ids),
      positions: tensor(this.inputs.positions),
      ropes: this.ropes.tensors,
      attend,
      recompute,
    });
    headLoss(g, hidden, this.weights.head, this.lossRows, this.scale.tensor('gradient scale', [1]), config.final_logit_softcapping);
    const sums = this.state.tensor('loss sum', [4], 'f32', 0, 16);
    for (const { losses } of this.lossRows.chunks) sumLosses(g, losses, sums);
  }
}

/** Above this, a layer's activations are computed twice instead of kept. */
const KEEP_ACTIVATIONS_BELOW = 160 * 2 ** 20;

function scratchBytes(programs: Record<string, Dispatch[]>): number {
  return Math.max(
    ...Object.values(programs).map((program) => {
      const arena = new Arena();
      arena.layout(program);
      return arena.bytes;
    }),
  );
}

function tensorBytesOf(rows: number, columns: number): number {
  return rows * columns * 4;
}
