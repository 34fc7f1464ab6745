import { adaptedPaths, magnitudeName, type Adapter, type LoraConfig } from '../core/adapter';
import type { ModelConfig, ModelSource, StoredTensor } from '../core/model';
import { checkRows } from '../core/layout';
import { loraSpecs } from '../models/lora';
import { Parameters } from '../models/parameters';
import { weightSpecs } from '../models/weights';
import { MemoryLedger } from '../runtime/memory';
import type { Checkpoint } from '../storage/checkpoints';
import { loraConfig, parseRecipe } from './recipe';

/** What a run has learned so far: an adapter, or every weight of the model. */
export type Trained =
  | { kind: 'adapter'; step: number; adapter: Adapter }
  | { kind: 'weights'; step: number; weights: Map<string, { shape: readonly number[]; data: Float32Array }> };

/** Named tensors of a checkpoint, cut from its flat arrays without a GPU. */
export function trainedOf(checkpoint: Checkpoint, config: ModelConfig): Trained {
  const recipe = parseRecipe(checkpoint.recipe);
  const lora = recipe.lora && loraConfig(recipe.lora, config);
  const arrays = checkpoint.arrays as Record<string, Float32Array>;
  // Banks were filled up to the device's largest binding; the longest one says as much as that limit did.
  const longest = Math.max(...Object.entries(arrays).map(([name, array]) => (name.startsWith('parameter.') ? array.byteLength : 0)));
  const parameters = new Parameters(lora ? loraSpecs(config, lora) : weightSpecs(config), longest, new MemoryLedger());
  const tensors = parameters.named(arrays);
  if (!lora) return { kind: 'weights', step: checkpoint.step, weights: tensors };
  return { kind: 'adapter', step: checkpoint.step, adapter: adapterOf(tensors, lora) };
}

/** An adapter from its trained tensors by name. */
export function adapterOf(tensors: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>, config: LoraConfig): Adapter {
  const adapter: Adapter = { config, tensors: new Map(), magnitudes: new Map() };
  for (const [name, { shape, data }] of tensors) {
    if (shape.length === 2) adapter.tensors.set(name, { shape: shape as [number, number], data });
  }
  for (const path of adaptedPaths(adapter)) {
    const magnitude = tensors.get(magnitudeName(path));
    if (magnitude) adapter.magnitudes.set(path, magnitude.data);
  }
  return adapter;
}

/** The model with trained weights in the places of its own, as F32. */
export function withWeights(model: ModelSource, weights: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>): ModelSource {
  const tensors = new Map(model.tensors);
  for (const [name, { shape, data }] of weights) tensors.set(name, inMemory(name, shape, data));
  return { ...model, tensors };
}

function inMemory(name: string, shape: readonly number[], data: Float32Array): StoredTensor {
  const columns = shape.at(-1)!;
  return {
    name,
    shape,
    type: 'F32',
    readRows: (first, count) => {
      checkRows(name, data.length / columns, first, count);
      return Promise.resolve(new Uint8Array(data.slice(first * columns, (first + count) * columns).buffer));
    },
  };
}
