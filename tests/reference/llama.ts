import { dequantize } from '../../src/core/blocks';
import { loraScale, peftName, type Adapter } from '../../src/core/adapter';
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

function rmsNorm(x: Float64Array, gain: Float64Array, eps: number): Float64Array {
  const size = gain.length;
  const y = new Float64Array(x.length);
  for (let at = 0; at < x.length; at += size) {
    let squares = 0;
    for (let i = 0; i < size; i++) squares += x[at + i]! ** 2;
    const scale = 1 / Math.sqrt(squares / size + eps);
    for (let i = 0; i < size; i++) y[at + i] = x[at + i]! * scale * gain[i]!;
  }
  return y;
}

/** Rotates each head's halves by position · frequency, as Hugging Face's rotate_half does. */
function rotate(x: Float64Array, heads: number, config: ModelConfig): void {
  const size = config.head_dim;
  const tokens = x.length / (heads * size);
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < size / 2; i++) {
      const angle = (t * config.rope_theta ** ((-2 * i) / size)) / (config.rope_factors?.[i] ?? 1);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let h = 0; h < heads; h++) {
        const at = (t * heads + h) * size + i;
        const [a, b] = [x[at]!, x[at + size / 2]!];
        x[at] = a * cos - b * sin;
        x[at + size / 2] = b * cos + a * sin;
      }
    }
  }
}

/** Causal softmax attention with key/value heads shared by groups of query heads. */
function attend(q: Float64Array, k: Float64Array, v: Float64Array, config: ModelConfig): Float64Array {
  const { num_attention_heads: H, num_key_value_heads: K, head_dim: D } = config;
  const tokens = q.length / (H * D);
  const y = new Float64Array(q.length);
  for (let h = 0; h < H; h++) {
    const g = Math.floor(h / (H / K));
    for (let t = 0; t < tokens; t++) {
      const scores: number[] = [];
      for (let s = 0; s <= t; s++) {
        let dot = 0;
        for (let d = 0; d < D; d++) dot += q[(t * H + h) * D + d]! * k[(s * K + g) * D + d]!;
        scores.push(dot / Math.sqrt(D));
      }
      const top = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - top));
      const sum = weights.reduce((a, b) => a + b, 0);
      for (let s = 0; s <= t; s++) {
        for (let d = 0; d < D; d++) y[(t * H + h) * D + d]! += (weights[s]! / sum) * v[(s * K + g) * D + d]!;
      }
    }
  }
  return y;
}

/**
 * Logits of every position, one row of V a token, by a plain f64 Llama forward over the stored weights
 * and, where given, an adapter: small models only.
 */
export async function referenceLogits(model: ModelSource, ids: readonly number[], adapter?: Adapter): Promise<Float64Array[]> {
  const { config } = model;
  const C = config.hidden_size;
  const load = (name: string): Promise<Float64Array> => weight(model.tensors.get(name)!);
  const project = async (x: Float64Array, path: string): Promise<Float64Array> => {
    const tensor = model.tensors.get(`${path}.weight`)!;
    const y = linear(x, await weight(tensor), tensor.shape[1]!);
    const [a, b] = [adapter?.tensors.get(peftName(path, 'A')), adapter?.tensors.get(peftName(path, 'B'))];
    if (adapter && a && b) {
      const low = linear(x, a.data, a.shape[1]);
      const change = linear(low, b.data, b.shape[1]);
      for (let i = 0; i < y.length; i++) y[i]! += loraScale(adapter.config) * change[i]!;
    }
    return y;
  };
  const embedding = await load('model.embed_tokens.weight');
  const x = new Float64Array(ids.length * C);
  ids.forEach((id, t) => x.set(embedding.subarray(id * C, (id + 1) * C), t * C));
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const at = `model.layers.${layer}.`;
    const normed = rmsNorm(x, await load(`${at}input_layernorm.weight`), config.rms_norm_eps);
    const q = await project(normed, `${at}self_attn.q_proj`);
    const k = await project(normed, `${at}self_attn.k_proj`);
    const v = await project(normed, `${at}self_attn.v_proj`);
    rotate(q, config.num_attention_heads, config);
    rotate(k, config.num_key_value_heads, config);
    const attended = await project(attend(q, k, v, config), `${at}self_attn.o_proj`);
    for (let i = 0; i < x.length; i++) x[i]! += attended[i]!;
    const normed2 = rmsNorm(x, await load(`${at}post_attention_layernorm.weight`), config.rms_norm_eps);
    const gate = await project(normed2, `${at}mlp.gate_proj`);
    const up = await project(normed2, `${at}mlp.up_proj`);
    for (let i = 0; i < gate.length; i++) gate[i] = (gate[i]! / (1 + Math.exp(-gate[i]!))) * up[i]!;
    const down = await project(gate, `${at}mlp.down_proj`);
    for (let i = 0; i < x.length; i++) x[i]! += down[i]!;
  }
  const final = rmsNorm(x, await load('model.norm.weight'), config.rms_norm_eps);
  const logits = linear(final, config.tie_word_embeddings ? embedding : await load('lm_head.weight'), C);
  return ids.map((_, t) => logits.slice(t * config.vocab_size, (t + 1) * config.vocab_size));
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
