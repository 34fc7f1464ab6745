import { ModelError } from '../core/errors';
import type { ModelConfig } from '../core/model';
import type { OnProgress } from '../core/progress';
import { Graph } from '../autograd/graph';
import { Arena } from '../runtime/arena';
import { readBuffer, type DeviceTraits, type Gpu } from '../runtime/device';
import { MemoryLedger, type Storage } from '../runtime/memory';
import { Pacer } from '../runtime/pacer';
import { Plan, planBytes } from '../runtime/plan';
import { Dim, type Dispatch, type Tensor } from '../runtime/program';
import { cachedAttention } from '../shaders/cached-attention/cached-attention';
import { cacheWrite } from '../shaders/cached-attention/cache-write';
import { gatherRows } from '../shaders/gather-rows/gather-rows';
import { linear } from '../shaders/linear/linear';
import { fill } from '../shaders/optimizer/fill';
import { softcap } from '../shaders/softcap/softcap';
import { attentionShape } from './attention-shape';
import { decoder, type Attend } from './decoder';
import type { LoraPairs } from './lora';
import { RopeTables } from './rope-table';
import type { DecoderWeights } from './weights';

/** Prompt tokens taken at once. */
const PREFILL_TOKENS = 64;

/** One compiled way through the model: `tokens` at a time, logits of the chosen rows of them. */
interface Pass {
  tokens: Dim;
  logitRows: Dim;
  dispatches: Dispatch[];
  slots: Map<Tensor, number>;
  plan: Plan | null;
}

/**
 * The model answering: tokens in, logits out, with keys and values of what came before kept in a cache.
 * One pass takes a prompt 64 tokens at a time, another takes one token.
 */
export class Inference {
  readonly memory = new MemoryLedger();
  private readonly arena: Arena;
  private readonly inputs: { ids: Storage; positions: Storage; rows: Storage };
  private readonly ropes: RopeTables;
  private readonly logits: Storage;
  private readonly caches: { k: Storage; v: Storage }[];
  private readonly passes: { prefill: Pass; decode: Pass };
  private gpu: Gpu | null = null;
  private pacer: Pacer | null = null;
  private filled = 0;

  /** `contextLength`: the most tokens of prompt and answer together. */
  constructor(
    private readonly config: ModelConfig,
    private readonly weights: DecoderWeights,
    private readonly lora: LoraPairs,
    private readonly traits: DeviceTraits,
    readonly contextLength: number,
    /** Shared with programs that never run at the same time; left out, the memory is this model's own. */
    private readonly sharedArena?: Arena,
  ) {
    this.arena = sharedArena ?? new Arena();
    const input = (name: string): Storage => this.memory.declare(name, 'other', PREFILL_TOKENS * 4);
    this.inputs = { ids: input('prompt ids'), positions: input('prompt positions'), rows: input('logit rows') };
    this.ropes = new RopeTables(config, contextLength, this.memory);
    this.logits = this.memory.declare('logits', 'logits', PREFILL_TOKENS * config.vocab_size * 4);
    const cacheBytes = contextLength * config.num_key_value_heads * config.head_dim * 4;
    this.caches = Array.from({ length: config.num_hidden_layers }, (_, i) => ({
      k: this.memory.declare(`key cache ${i}`, 'activations', cacheBytes),
      v: this.memory.declare(`value cache ${i}`, 'activations', cacheBytes),
    }));
    this.passes = { prefill: this.build(PREFILL_TOKENS), decode: this.build(1) };
  }

  async allocate(gpu: Gpu, onProgress?: OnProgress): Promise<void> {
    this.gpu = gpu;
    this.pacer = new Pacer(gpu);
    this.memory.allocate(gpu);
    for (const pass of Object.values(this.passes)) {
      pass.plan = await Plan.record(gpu, pass.dispatches, this.arena, pass.slots, onProgress);
    }
    this.ropes.upload(gpu);
  }

  /** Bytes its plans take beside the ledger and the arena. */
  planBytes(): number {
    return Object.values(this.passes).reduce((sum, pass) => sum + planBytes(pass.dispatches), 0);
  }

  /** All that `allocate` takes: ledger, plans, and scratch where it is not shared. */
  bytes(): number {
    const declared = Object.values(this.memory.bytes()).reduce((sum, bytes) => sum + bytes, 0);
    return declared + this.planBytes() + (this.sharedArena ? 0 : this.arena.bytes);
  }

  destroy(): void {
    if (!this.gpu) return;
    for (const pass of Object.values(this.passes)) pass.plan?.destroy();
    this.memory.destroy(this.gpu);
    if (!this.sharedArena) this.arena.destroy(this.gpu);
    this.gpu = null;
  }

  /** Forgets what came before. */
  reset(): void {
    this.filled = 0;
  }

  /**
   * Takes more tokens in and returns the logits `[V]` after the last of them. Throws a ModelError where the
   * context is full.
   */
  async extend(ids: readonly number[]): Promise<Float32Array> {
    const last = await this.feed(ids, false);
    return last[0]!;
  }

  /** Logits `[V]` after every one of `ids`, from an empty context. */
  async allLogits(ids: readonly number[]): Promise<Float32Array[]> {
    this.reset();
    return this.feed(ids, true);
  }

  private async feed(ids: readonly number[], every: boolean): Promise<Float32Array[]> {
    if (this.filled + ids.length > this.contextLength) {
      throw new ModelError(
        `The conversation needs ${this.filled + ids.length} tokens and the context holds ${this.contextLength}; start a new one or shorten it.`,
      );
    }
    const out: Float32Array[] = [];
    for (let at = 0; at < ids.length; at += PREFILL_TOKENS) {
      const chunk = ids.slice(at, at + PREFILL_TOKENS);
      const isLast = at + chunk.length === ids.length;
      const rows = every ? chunk.map((_, i) => i) : isLast ? [chunk.length - 1] : [];
      out.push(...(await this.pass(chunk, rows)));
    }
    return out;
  }

  private async pass(ids: readonly number[], rows: readonly number[]): Promise<Float32Array[]> {
    const { queue } = this.gpu!.device;
    const pass = ids.length === 1 ? this.passes.decode : this.passes.prefill;
    pass.tokens.value = ids.length;
    pass.logitRows.value = rows.length;
    queue.writeBuffer(this.inputs.ids.buffer, 0, new Uint32Array(ids));
    queue.writeBuffer(this.inputs.positions.buffer, 0, Uint32Array.from(ids, (_, i) => this.filled + i));
    queue.writeBuffer(this.inputs.rows.buffer, 0, new Uint32Array(rows));
    await pass.plan!.run(this.pacer!);
    this.filled += ids.length;
    const { vocab_size } = this.config;
    if (rows.length === 0) return [];
    const all = new Float32Array(await readBuffer(this.gpu!, this.logits.buffer, 0, rows.length * vocab_size * 4));
    return rows.map((_, i) => all.subarray(i * vocab_size, (i + 1) * vocab_size));
  }

  private build(maxTokens: number): Pass {
    const { config } = this;
    const g = new Graph(this.traits);
    const tokens = new Dim('tokens', maxTokens);
    const logitRows = new Dim('logit rows', maxTokens);
    const input = (storage: Storage, rows: Dim): Tensor => storage.tensor(storage.label, [rows], 'u32', 0, maxTokens * 4);
    const positions = input(this.inputs.positions, tokens);
    const width = config.num_key_value_heads * config.head_dim;
    const caches = this.caches.map(({ k, v }) => ({
      k: k.tensor(k.label, [this.contextLength, width]),
      v: v.tensor(v.label, [this.contextLength, width]),
    }));
    const attend: Attend = (graph, layer, q, k, v) => {
      const cache = caches[layer]!;
      cacheWrite(graph, k, cache.k, positions);
      cacheWrite(graph, v, cache.v, positions);
      return cachedAttention(graph, q, cache.k, cache.v, positions, attentionShape(config, layer));
    };
    const hidden = decoder(g, {
      config,
      weights: this.weights,
      lora: this.lora,
      ids: input(this.inputs.ids, tokens),
      positions,
      ropes: this.ropes.tensors,
      attend,
      recompute: false,
    });
    const chosen = gatherRows(g, hidden, input(this.inputs.rows, logitRows));
    const out = this.logits.tensor('logits', [logitRows, config.vocab_size], 'f32', 0, maxTokens * config.vocab_size * 4);
    fill(g, out, 0);
    linear(g, chosen, this.weights.head, { into: out });
    if (config.final_logit_softcapping !== null) softcap(g, out, config.final_logit_softcapping);
    const dispatches = g.program();
    return { tokens, logitRows, dispatches, slots: this.arena.layout(dispatches), plan: null };
  }
}
