import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { MicroBatch } from '../../src/core/batch';
import { makeMicroBatch } from '../../src/core/batch';
import type { Adapter } from '../../src/core/adapter';
import type { ModelConfig, Projection } from '../../src/core/model';
import { loraConfig, parseRecipe, type Recipe } from '../../src/training/recipe';
import { gemma3 } from '../gemma';
import { shared } from '../shared';

/** A LoRA run computed with PyTorch, transformers and PEFT in float64. */
export interface GoldenCase {
  model: string;
  lora: { r: number; lora_alpha: number; target_modules: Projection[]; lora_dropout: number };
  optimizer: {
    lr: number;
    betas: [number, number];
    eps: number;
    weight_decay: number;
    max_grad_norm: number;
    schedule: 'constant' | 'linear' | 'cosine';
    warmup_steps: number;
    steps: number;
  };
  steps: { micro_batches: GoldenBatch[] }[];
  logits: { input_ids: number[]; rows: 'all' | 'last' };
  gradient_check: { loss: number; grad_norms: Record<string, number> };
  losses: number[];
  grad_norms: number[];
  learning_rates: number[];
  trained_logits_top8: [number, number][];
}

interface GoldenBatch {
  input_ids: number[][];
  labels: number[][];
  segment_ids?: number[][];
}

export interface Golden {
  case: GoldenCase;
  folder: string;
  modelPath: string;
  tensors(file: string): Map<string, { shape: number[]; data: Float32Array }>;
}

/** Reads a case, or null where the reference data or its model is absent. */
export function golden(name: string): Golden | null {
  const path = shared(`goldens/training/${name}/case.json`);
  if (!path) return null;
  const data = JSON.parse(readFileSync(path, 'utf8')) as GoldenCase;
  const folder = dirname(path);
  const modelPath = name === 'gemma-3-270m' ? gemma3() : shared(data.model);
  if (!modelPath) return null;
  return { case: data, folder, modelPath, tensors: (file) => readTensors(join(folder, file)) };
}

/** A safetensors file of F32 or F64 tensors, read the plain way: independent of the project's own reader. */
function readTensors(path: string): Map<string, { shape: number[]; data: Float32Array }> {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, { shape: number[]; data: Float32Array }>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [from, to] = entry.data_offsets;
    const slice = Uint8Array.from(bytes.subarray(8 + headerLength + from, 8 + headerLength + to)).buffer;
    const data = entry.dtype === 'F64' ? Float32Array.from(new Float64Array(slice)) : new Float32Array(slice);
    tensors.set(name, { shape: entry.shape, data });
  }
  return tensors;
}

export function goldenRecipe(data: GoldenCase): Recipe {
  const { lora, optimizer } = data;
  return parseRecipe({
    model: data.model,
    dataset: { path: 'golden', shuffle: false, eval_fraction: 0 },
    lora: { r: lora.r, lora_alpha: lora.lora_alpha, lora_dropout: lora.lora_dropout, target_modules: lora.target_modules },
    training: {
      learning_rate: optimizer.lr,
      lr_scheduler_type: optimizer.schedule === 'constant' ? 'constant_with_warmup' : optimizer.schedule,
      warmup_steps: optimizer.warmup_steps,
      max_steps: optimizer.steps,
      adam_beta1: optimizer.betas[0],
      adam_beta2: optimizer.betas[1],
      adam_epsilon: optimizer.eps,
      weight_decay: optimizer.weight_decay,
      max_grad_norm: optimizer.max_grad_norm,
      packing: false,
      seed: 1,
    },
  });
}

/** A case's adapter at the start. */
export function goldenAdapter(one: Golden, recipe: Recipe, model: ModelConfig): Adapter {
  const tensors: Adapter['tensors'] = new Map();
  for (const [name, { shape, data }] of one.tensors('lora_init.safetensors')) tensors.set(name, { shape: shape as [number, number], data });
  return { config: loraConfig(recipe.lora!, model), tensors, magnitudes: new Map() };
}

export function goldenBatches(step: { micro_batches: GoldenBatch[] }): MicroBatch[] {
  return step.micro_batches.map((batch) =>
    makeMicroBatch(
      batch.input_ids.map((ids, i) => ({
        row: i + 1,
        input_ids: Int32Array.from(ids),
        labels: Int32Array.from(batch.labels[i]!),
        ...(batch.segment_ids ? { segment_ids: Int32Array.from(batch.segment_ids[i]!) } : {}),
      })),
      Math.max(...batch.input_ids.map((ids) => ids.length)),
    ),
  );
}

/** ‖a − b‖ / ‖b‖ in f64. */
export function relativeL2(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}
