import { peftName, type Adapter, type LoraConfig } from '../core/adapter';
import { PROJECTIONS, projectionPath, projectionShape, type ModelConfig, type Projection } from '../core/model';
import { Random } from '../core/random';
import type { Graph } from '../autograd/graph';
import type { Tensor } from '../runtime/program';
import { dropout } from '../shaders/dropout/dropout';
import { linear } from '../shaders/linear/linear';
import type { Weight } from '../shaders/weight';
import type { ParameterSpec } from './parameters';

/** The trained pair of one projection on the GPU: A `[r, in]`, B `[out, r]`. */
export interface LoraPair {
  A: Tensor;
  B: Tensor;
  scale: number;
  dropout: { p: number; key: Tensor; salt: number } | null;
}

/** Pairs by module path (`model.layers.0.self_attn.q_proj`). */
export type LoraPairs = ReadonlyMap<string, LoraPair>;

/** Module paths that a LoRA adapts, layer by layer, in the decoder's order. */
export function loraModules(config: ModelConfig, targets: readonly Projection[]): { path: string; projection: Projection }[] {
  const modules: { path: string; projection: Projection }[] = [];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    for (const projection of PROJECTIONS) {
      if (targets.includes(projection)) modules.push({ path: `model.layers.${layer}.${projectionPath(projection)}`, projection });
    }
  }
  return modules;
}

/** Names and shapes of an adapter's tensors, under PEFT's names. */
export function loraSpecs(config: ModelConfig, lora: LoraConfig): ParameterSpec[] {
  return loraModules(config, lora.target_modules).flatMap(({ path, projection }) => {
    const [rows, columns] = projectionShape(config, projection);
    return [
      { name: peftName(path, 'A'), shape: [lora.r, columns] },
      { name: peftName(path, 'B'), shape: [rows, lora.r] },
    ];
  });
}

/**
 * A fresh adapter as PEFT makes it: A uniform in ±1/√in (Kaiming with a = √5), B zero, so that the
 * adapted model begins as the base.
 */
export function initialAdapter(config: ModelConfig, lora: LoraConfig, seed: number): Adapter {
  const random = new Random(seed, 1);
  const tensors: Adapter['tensors'] = new Map();
  for (const { name, shape } of loraSpecs(config, lora)) {
    const [rows, columns] = shape as [number, number];
    const data = new Float32Array(rows * columns);
    if (name.includes('.lora_A.')) {
      const bound = 1 / Math.sqrt(columns);
      for (let i = 0; i < data.length; i++) data[i] = (2 * random.uniform() - 1) * bound;
    }
    tensors.set(name, { shape: [rows, columns], data });
  }
  return { config: lora, tensors };
}

/** y = x·Wᵀ, plus scale·dropout(x)·Aᵀ·Bᵀ where the projection is adapted (Hu et al. 2021). x `[M, in]`, y `[M, out]`. */
export function project(g: Graph, x: Tensor, weight: Weight, pair: LoraPair | undefined): Tensor {
  const y = linear(g, x, weight);
  if (!pair) return y;
  const input = pair.dropout ? dropout(g, x, pair.dropout.key, pair.dropout.salt, pair.dropout.p) : x;
  const t = linear(g, input, pair.A);
  return linear(g, t, pair.B, { into: y, scale: pair.scale });
}
