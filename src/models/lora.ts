import { loraRank, magnitudeName, peftName, targetedModules, type Adapter, type LoraConfig } from '../core/adapter';
import { projectionShape, type ModelConfig } from '../core/model';
import { Random } from '../core/random';
import type { Graph } from '../autograd/graph';
import type { Tensor } from '../runtime/program';
import { add } from '../shaders/add/add';
import { scaleRows, type RowScale } from '../shaders/dora/dora';
import { dropout, dropped } from '../shaders/dropout/dropout';
import { linear } from '../shaders/linear/linear';
import type { Weight } from '../shaders/weight';
import type { ParameterSpec } from './parameters';

/** What is added to one projection on the GPU: A `[r, in]`, B `[out, r]`. */
export interface LoraPair {
  A: Tensor;
  B: Tensor;
  scale: number;
  dropout: { p: number; key: Tensor; salt: number } | null;
  /** DoRA: scales the rows of W + s·B·A to trained lengths. */
  dora: RowScale | null;
  /** Scales the rows of W alone: adapters with DoRA that only answer, their own factors folded into B. */
  base: RowScale | null;
}

/** Pairs by module path (`model.layers.0.self_attn.q_proj`). */
export type LoraPairs = ReadonlyMap<string, LoraPair>;

/** Names and shapes of an adapter's tensors, under PEFT's names. */
export function loraSpecs(config: ModelConfig, lora: LoraConfig): ParameterSpec[] {
  return targetedModules(config, lora.target_modules).flatMap(({ path, projection }) => {
    const [rows, columns] = projectionShape(config, projection);
    const r = loraRank(lora, path);
    return [
      { name: peftName(path, 'A'), shape: [r, columns] },
      { name: peftName(path, 'B'), shape: [rows, r] },
      ...(lora.use_dora ? [{ name: magnitudeName(path), shape: [rows] }] : []),
    ];
  });
}

/** How PEFT fills a fresh A: true is Kaiming's (uniform in ±1/√in), gaussian has the deviation 1/r. B is zero with both. */
export type LoraInit = true | 'gaussian';

/**
 * A fresh adapter as PEFT makes it; the adapted model begins as the base. DoRA's magnitudes, the norms of the
 * weight's rows, are left out: the session takes them from the weights on the GPU.
 */
export function initialAdapter(config: ModelConfig, lora: LoraConfig, seed: number, init: LoraInit = true): Adapter {
  const random = new Random(seed, 1);
  const tensors: Adapter['tensors'] = new Map();
  for (const { path, projection } of targetedModules(config, lora.target_modules)) {
    const [rows, columns] = projectionShape(config, projection);
    const r = loraRank(lora, path);
    const bound = 1 / Math.sqrt(columns);
    const draw = init === 'gaussian' ? () => random.normal() / r : () => (2 * random.uniform() - 1) * bound;
    tensors.set(peftName(path, 'A'), { shape: [r, columns], data: Float32Array.from({ length: r * columns }, draw) });
    tensors.set(peftName(path, 'B'), { shape: [rows, r], data: new Float32Array(rows * r) });
  }
  return { config: lora, tensors, magnitudes: new Map() };
}

/**
 * y = W·x, plus s·B·A·dropout(x) where the projection is adapted (Hu et al. 2021); with DoRA the sum's rows are scaled
 * to their magnitudes (Liu et al. 2024). x `[M, in]`, y `[M, out]`. A bias is the caller's to add, unscaled.
 */
export function project(g: Graph, x: Tensor, weight: Weight, pair: LoraPair | undefined): Tensor {
  if (!pair) return linear(g, x, weight);
  if (pair.dora) return projectDora(g, x, weight, pair, pair.dora);
  const product = linear(g, x, weight);
  const y = pair.base ? scaleRows(g, product, pair.base) : product;
  const input = pair.dropout ? dropout(g, x, pair.dropout.key, pair.dropout.salt, pair.dropout.p) : x;
  return linear(g, linear(g, input, pair.A), pair.B, { into: y, scale: pair.scale });
}

/**
 * DoRA as PEFT computes it: with dropout the scaled product sees the values that were kept, and what scaling does not
 * touch sees all of x: y = W·x + (m/n)·(W + s·B·A)·d − W·d = (m/n)·(W + s·B·A)·d + W·(x − d), d = dropout(x).
 */
function projectDora(g: Graph, x: Tensor, weight: Weight, { A, B, scale, dropout: drop }: LoraPair, rows: RowScale): Tensor {
  const input = drop ? dropout(g, x, drop.key, drop.salt, drop.p) : x;
  const sum = linear(g, input, weight);
  linear(g, linear(g, input, A), B, { into: sum, scale });
  const scaled = scaleRows(g, sum, rows);
  return drop ? add(g, scaled, linear(g, dropped(g, x, drop.key, drop.salt, drop.p), weight)) : scaled;
}
