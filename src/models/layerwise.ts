import type { MicroBatch } from '../core/batch';
import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import { Graph } from '../autograd/graph';
import { Arena } from '../runtime/arena';
import { readBuffer, traitsOf, type Gpu } from '../runtime/device';
import { MemoryLedger, type Storage } from '../runtime/memory';
import { Pacer } from '../runtime/pacer';
import { Plan } from '../runtime/plan';
import { Dim, type Tensor } from '../runtime/program';
import { attention } from '../shaders/attention/attention';
import { cacheWrite } from '../shaders/cached-attention/cache-write';
import { gatherRows } from '../shaders/gather-rows/gather-rows';
import { linear } from '../shaders/linear/linear';
import { fill } from '../shaders/optimizer/fill';
import { softcap } from '../shaders/softcap/softcap';
import { attentionShape } from './attention-shape';
import { decoderLayer, embedded, finalNorm } from './decoder';
import { RopeTables } from './rope-table';
import { FrozenTensors, layerWeights } from './weights';

/**
 * Logits `[rows, V]` of some tokens of a batch, from a model that need not fit the GPU: its weights pass through one layer
 * at a time, while the residual stream stays. `rows`: flat indices into the batch, ascending.
 */
export async function layerwiseLogits(
  gpu: Gpu,
  source: ModelSource,
  batch: MicroBatch,
  rows: readonly number[],
  onProgress?: OnProgress,
): Promise<Float32Array> {
  const pass = new LayerwisePass(gpu, source, batch, rows);
  try {
    return await pass.run(onProgress);
  } finally {
    pass.destroy();
  }
}

class LayerwisePass {
  private readonly memory = new MemoryLedger();
  private readonly tokens: Dim;
  private readonly chosen: Dim;
  private readonly inputs: Record<'ids' | 'positions' | 'starts' | 'ends' | 'order' | 'chosen', Storage>;
  private readonly hidden: Storage;
  private readonly logits: Storage;
  private readonly ropes: RopeTables;
  private readonly pacer: Pacer;

  constructor(
    private readonly gpu: Gpu,
    private readonly source: ModelSource,
    private readonly batch: MicroBatch,
    private readonly rows: readonly number[],
  ) {
    const { config } = source;
    const M = batch.ids.length;
    this.tokens = new Dim('tokens', M);
    this.chosen = new Dim('compared tokens', rows.length);
    const input = (name: string, length: number): Storage => this.memory.declare(name, 'other', length * 4);
    this.inputs = {
      ids: input('ids', M),
      positions: input('positions', M),
      starts: input('starts', M),
      ends: input('ends', M),
      order: input('order', M),
      chosen: input('compared tokens', rows.length),
    };
    this.hidden = this.memory.declare('residual stream', 'activations', M * config.hidden_size * 4);
    this.logits = this.memory.declare('logits', 'logits', rows.length * config.vocab_size * 4);
    this.ropes = new RopeTables(config, batch.positions.reduce((a, b) => Math.max(a, b), 0) + 1, this.memory);
    this.pacer = new Pacer(gpu);
  }

  async run(onProgress?: OnProgress): Promise<Float32Array> {
    const { gpu, batch, rows, source } = this;
    this.memory.allocate(gpu);
    this.ropes.upload(gpu);
    const { ids, positions, starts, ends } = batch;
    const values = { ids, positions, starts, ends, order: Uint32Array.from(ids, (_, i) => i), chosen: Uint32Array.from(rows) };
    for (const [name, data] of Object.entries(values)) {
      gpu.device.queue.writeBuffer(this.inputs[name as keyof typeof values].buffer, 0, data as Uint32Array<ArrayBuffer>);
    }
    const { num_hidden_layers: layers, tie_word_embeddings, final_logit_softcapping } = source.config;
    const report = (done: number): void => onProgress?.({ label: `Comparing ${source.name}`, done, total: layers + 2, unit: 'steps' });
    await this.stage((g, weights) => this.keep(g, embedded(g, source.config, this.index('ids'), weights.matrix('model.embed_tokens.weight'))));
    for (let layer = 0; layer < layers; layer++) {
      report(layer + 1);
      await this.stage((g, weights) => this.keep(g, this.layer(g, weights, layer)));
    }
    report(layers + 1);
    await this.stage((g, weights) => {
      const normed = finalNorm(g, source.config, this.stream(), weights.vector('model.norm.weight'));
      const out = this.logits.tensor('logits', [this.chosen, source.config.vocab_size]);
      fill(g, out, 0);
      const head = weights.matrix(tie_word_embeddings ? 'model.embed_tokens.weight' : 'lm_head.weight');
      linear(g, gatherRows(g, normed, this.inputs.chosen.tensor('chosen', [this.chosen], 'u32')), head, { into: out });
      if (final_logit_softcapping !== null) softcap(g, out, final_logit_softcapping);
    });
    report(layers + 2);
    return new Float32Array(await readBuffer(gpu, this.logits.buffer, 0, rows.length * source.config.vocab_size * 4));
  }

  destroy(): void {
    this.memory.destroy(this.gpu);
  }

  /** Uploads what `build` asks for, runs what it records, and lets the weights go. */
  private async stage(build: (g: Graph, weights: FrozenTensors) => void): Promise<void> {
    const { gpu } = this;
    const traits = traitsOf(gpu);
    const memory = new MemoryLedger();
    const weights = new FrozenTensors(this.source, traits.maxStorageBufferBindingSize, memory);
    const g = new Graph(traits);
    build(g, weights);
    const arena = new Arena();
    const dispatches = g.program();
    const slots = arena.layout(dispatches);
    try {
      memory.allocate(gpu);
      await weights.upload(gpu);
      const plan = await Plan.record(gpu, dispatches, arena, slots);
      await plan.run(this.pacer);
      await gpu.device.queue.onSubmittedWorkDone();
      plan.destroy();
    } finally {
      memory.destroy(gpu);
      arena.destroy(gpu);
    }
  }

  private layer(g: Graph, weights: FrozenTensors, layer: number): Tensor {
    const { config } = this.source;
    const spans = { starts: this.index('starts'), ends: this.index('ends') };
    return decoderLayer(
      g,
      {
        config,
        lora: new Map(),
        positions: this.index('positions'),
        ropes: this.ropes.tensors,
        attend: (graph, index, q, k, v) => attention(graph, q, k, v, spans, attentionShape(config, index)),
      },
      layerWeights(config, layer, weights),
      layer,
      this.stream(),
    );
  }

  private index(name: 'ids' | 'positions' | 'starts' | 'ends' | 'order'): Tensor {
    return this.inputs[name].tensor(name, [this.tokens], 'u32');
  }

  private stream(): Tensor {
    return this.hidden.tensor('residual stream', [this.tokens, this.source.config.hidden_size]);
  }

  private keep(g: Graph, x: Tensor): void {
    cacheWrite(g, x, this.hidden.tensor('residual stream', [this.batch.ids.length, this.source.config.hidden_size]), this.index('order'));
  }
}
