import { dequantize } from '../../src/core/blocks';
import { loraScale, peftName, type Adapter } from '../../src/core/adapter';
import { adaptedNormsReference } from '../../src/shaders/dora/dora.reference';
import type { ModelConfig, ModelSource, StoredTensor } from '../../src/core/model';

/** A whole weight as f64 numbers. */
async function weight(tensor: StoredTensor): Promise<Float64Array> {
  const rows = tensor.shape.length === 1 ? 1 : tensor.shape[0]!;
  return Float64Array.from(dequantize(tensor.type, await tensor.readRows(0, rows)));
}

/** y[t] = W x[t], with W [out, in] row-major. */
function linear(x: Float64Array, w: ArrayLike<number>, inputs: number): Float64Array {
  const rows = x.length / inputs;
  const outputs = w.length / inputs;
  const y = new Float64Array(rows * outputs);
  for (let t = 0; t < rows; t++) {
    for (let o = 0; o < outputs; o++) {
      let sum = 0;
      for (let i = 0; i < inputs; i++) sum += x[t * inputs + i]! * w[o * inputs + i]!;
      y[t * outputs + o] = sum;
    }
  }
  return y;
}

/** What a model type does differently, spelled out apart from the engine's own tables. */
function differences({ model_type }: ModelConfig): { gemma: boolean; headNorms: boolean; fused: boolean } {
  const gemma = model_type.startsWith('gemma');
  return { gemma, headNorms: model_type === 'qwen3' || model_type === 'gemma3_text', fused: model_type === 'phi3' };
}

function rmsNorm(x: Float64Array, gain: Float64Array, config: ModelConfig): Float64Array {
  const size = gain.length;
  const offset = differences(config).gemma ? 1 : 0;
  const y = new Float64Array(x.length);
  for (let at = 0; at < x.length; at += size) {
    let squares = 0;
    for (let i = 0; i < size; i++) squares += x[at + i]! ** 2;
    const scale = 1 / Math.sqrt(squares / size + config.rms_norm_eps);
    for (let i = 0; i < size; i++) y[at + i] = x[at + i]! * scale * (offset + gain[i]!);
  }
  return y;
}

/** Rotates each head's halves by position · frequency, as Hugging Face's rotate_half does. */
function rotate(x: Float64Array, heads: number, config: ModelConfig, layer: number): void {
  if (config.no_rope_layers[layer] === 0) return;
  const { head_dim, rope_long: long } = config;
  const size = Math.trunc(head_dim * config.partial_rotary_factor);
  const local = config.layer_types[layer] === 'sliding_attention' && config.rope_local_base_freq !== null;
  const tokens = x.length / (heads * head_dim);
  const factors = local ? null : long && tokens > long.original_max_position_embeddings ? long.factors : config.rope_factors;
  const theta = local ? config.rope_local_base_freq! : config.rope_theta;
  const magnitude = long?.attention_factor ?? 1;
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < size / 2; i++) {
      const angle = (t * theta ** ((-2 * i) / size)) / (factors?.[i] ?? 1);
      const [cos, sin] = [magnitude * Math.cos(angle), magnitude * Math.sin(angle)];
      for (let h = 0; h < heads; h++) {
        const at = (t * heads + h) * head_dim + i;
        const [a, b] = [x[at]!, x[at + size / 2]!];
        x[at] = a * cos - b * sin;
        x[at + size / 2] = b * cos + a * sin;
      }
    }
  }
}

const capped = (x: number, cap: number | null): number => (cap === null ? x : cap * Math.tanh(x / cap));

/** Causal softmax attention with key/value heads shared by groups of query heads. */
function attend(q: Float64Array, k: Float64Array, v: Float64Array, config: ModelConfig, layer: number): Float64Array {
  const { num_attention_heads: H, num_key_value_heads: K, head_dim: D } = config;
  const window = config.layer_types[layer] === 'sliding_attention' ? config.sliding_window! : Infinity;
  const tokens = q.length / (H * D);
  const y = new Float64Array(q.length);
  for (let h = 0; h < H; h++) {
    const g = Math.floor(h / (H / K));
    for (let t = 0; t < tokens; t++) {
      const first = Math.max(0, t - window + 1);
      const scores: number[] = [];
      for (let s = first; s <= t; s++) {
        let dot = 0;
        for (let d = 0; d < D; d++) dot += q[(t * H + h) * D + d]! * k[(s * K + g) * D + d]!;
        scores.push(capped(dot / Math.sqrt(config.query_pre_attn_scalar ?? D), config.attn_logit_softcapping));
      }
      const top = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - top));
      const sum = weights.reduce((a, b) => a + b, 0);
      weights.forEach((weight, i) => {
        for (let d = 0; d < D; d++) y[(t * H + h) * D + d]! += (weight / sum) * v[((first + i) * K + g) * D + d]!;
      });
    }
  }
  return y;
}

/** Columns `from` to `to` of rows of `width`. */
function columns(x: Float64Array, width: number, from: number, to: number): Float64Array {
  const out = new Float64Array((x.length / width) * (to - from));
  for (let row = 0; row * width < x.length; row++) out.set(x.subarray(row * width + from, row * width + to), row * (to - from));
  return out;
}

function activated(gate: Float64Array, up: Float64Array, gelu: boolean): Float64Array {
  const gated = (x: number): number => (gelu ? 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))) : x / (1 + Math.exp(-x)));
  return gate.map((x, i) => gated(x) * up[i]!);
}

/** One model's weights and, where given, an adapter, as plain f64 functions. */
class Reference {
  constructor(
    readonly model: ModelSource,
    private readonly adapter: Adapter | undefined,
    /** Whose row norms DoRA divides by: the adapter's own, or another's, to hold them still while the adapter is moved. */
    private readonly normsOf = adapter,
  ) {}

  load(name: string): Promise<Float64Array> {
    return weight(this.model.tensors.get(name)!);
  }

  norm = async (x: Float64Array, name: string): Promise<Float64Array> => rmsNorm(x, await this.load(name), this.model.config);

  async project(x: Float64Array, path: string): Promise<Float64Array> {
    const y = await this.adapted(x, path);
    if (!this.model.tensors.has(`${path}.bias`)) return y;
    const b = await this.load(`${path}.bias`);
    return y.map((value, i) => value + b[i % b.length]!);
  }

  private async adapted(x: Float64Array, path: string): Promise<Float64Array> {
    const tensor = this.model.tensors.get(`${path}.weight`)!;
    const y = linear(x, await weight(tensor), tensor.shape[1]!);
    const { adapter } = this;
    const [a, b] = [adapter?.tensors.get(peftName(path, 'A')), adapter?.tensors.get(peftName(path, 'B'))];
    if (!adapter || !a || !b) return y;
    const change = linear(linear(x, a.data, a.shape[1]), b.data, b.shape[1]);
    const magnitude = adapter.magnitudes.get(path);
    const norms = magnitude && (await this.rowNorms(path));
    return y.map((value, i) => {
      const all = value + loraScale(adapter.config, path) * change[i]!;
      return magnitude && norms ? (all * magnitude[i % magnitude.length]!) / norms[i % norms.length]! : all;
    });
  }

  private async rowNorms(path: string): Promise<Float64Array> {
    const tensor = this.model.tensors.get(`${path}.weight`)!;
    const [rows, columns] = tensor.shape as [number, number];
    const { config, tensors } = this.normsOf!;
    const [a, b] = [tensors.get(peftName(path, 'A'))!, tensors.get(peftName(path, 'B'))!];
    return adaptedNormsReference(await weight(tensor), a.data, b.data, [rows, columns, a.shape[0]], loraScale(config, path));
  }
}

async function attentionBlock(reference: Reference, x: Float64Array, layer: number): Promise<Float64Array> {
  const { config } = reference.model;
  const { num_attention_heads: H, num_key_value_heads: K, head_dim: D } = config;
  const at = `model.layers.${layer}.self_attn.`;
  const { fused, headNorms } = differences(config);
  const all = fused ? await reference.project(x, `${at}qkv_proj`) : null;
  const width = (H + 2 * K) * D;
  let q = all ? columns(all, width, 0, H * D) : await reference.project(x, `${at}q_proj`);
  let k = all ? columns(all, width, H * D, (H + K) * D) : await reference.project(x, `${at}k_proj`);
  const v = all ? columns(all, width, (H + K) * D, width) : await reference.project(x, `${at}v_proj`);
  if (headNorms) [q, k] = [await reference.norm(q, `${at}q_norm.weight`), await reference.norm(k, `${at}k_norm.weight`)];
  rotate(q, H, config, layer);
  rotate(k, K, config, layer);
  return reference.project(attend(q, k, v, config, layer), `${at}o_proj`);
}

async function feedForward(reference: Reference, x: Float64Array, layer: number): Promise<Float64Array> {
  const { config } = reference.model;
  const at = `model.layers.${layer}.mlp.`;
  const { fused, gemma } = differences(config);
  const F = config.intermediate_size;
  const both = fused ? await reference.project(x, `${at}gate_up_proj`) : null;
  const gate = both ? columns(both, 2 * F, 0, F) : await reference.project(x, `${at}gate_proj`);
  const up = both ? columns(both, 2 * F, F, 2 * F) : await reference.project(x, `${at}up_proj`);
  return reference.project(activated(gate, up, gemma), `${at}down_proj`);
}

const sum = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value + b[i]!);

/**
 * Logits of every position, one row of V a token, by a plain f64 forward over the stored weights and, where given,
 * an adapter: small models only. `normsOf` gives the row norms of a DoRA, where they are not to follow the adapter.
 */
export async function referenceLogits(model: ModelSource, ids: readonly number[], adapter?: Adapter, normsOf = adapter): Promise<Float64Array[]> {
  const { config } = model;
  const C = config.hidden_size;
  const reference = new Reference(model, adapter, normsOf);
  const { gemma } = differences(config);
  const embedding = await reference.load('model.embed_tokens.weight');
  let x: Float64Array = new Float64Array(ids.length * C);
  ids.forEach((id, t) => x.set(embedding.subarray(id * C, (id + 1) * C), t * C));
  if (gemma) x = x.map((value) => value * Math.sqrt(C));
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const at = `model.layers.${layer}.`;
    const attended = await attentionBlock(reference, await reference.norm(x, `${at}input_layernorm.weight`), layer);
    x = sum(x, gemma ? await reference.norm(attended, `${at}post_attention_layernorm.weight`) : attended);
    const before = gemma ? 'pre_feedforward_layernorm' : 'post_attention_layernorm';
    const hidden = await feedForward(reference, await reference.norm(x, `${at}${before}.weight`), layer);
    x = sum(x, gemma ? await reference.norm(hidden, `${at}post_feedforward_layernorm.weight`) : hidden);
  }
  const final = await reference.norm(x, 'model.norm.weight');
  const logits = linear(final, config.tie_word_embeddings ? embedding : await reference.load('lm_head.weight'), C);
  return ids.map((_, t) =>
    logits.slice(t * config.vocab_size, (t + 1) * config.vocab_size).map((logit) => capped(logit, config.final_logit_softcapping)),
  );
}

/** Largest absolute difference between two sets of logits. */
export function largestDifference(a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number {
  let largest = 0;
  a.forEach((row, t) => {
    for (let i = 0; i < row.length; i++) {
      const difference = Math.abs(row[i]! - b[t]![i]!);
      if (!(difference <= largest)) largest = difference;
    }
  });
  return largest;
}

/** Mean over positions of KL(p ‖ q) in nats, p and q the softmax of two sets of logits. */
export function meanKl(p: readonly ArrayLike<number>[], q: readonly ArrayLike<number>[]): number {
  let total = 0;
  p.forEach((row, t) => {
    const [a, b] = [logSoftmax(row), logSoftmax(q[t]!)];
    a.forEach((value, i) => (total += Math.exp(value) * (value - b[i]!)));
  });
  return total / p.length;
}

function logSoftmax(row: ArrayLike<number>): number[] {
  const values = Array.from(row);
  const top = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = values.reduce((a, b) => a + Math.exp(b - top), 0);
  return values.map((value) => value - top - Math.log(sum));
}
