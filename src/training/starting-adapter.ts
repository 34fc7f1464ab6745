import { loraRank, loraScale, peftName, targetedModules, type Adapter, type LoraConfig } from '../core/adapter';
import { RecipeError } from '../core/errors';
import type { ModelConfig } from '../core/model';
import { initialAdapter } from '../models/lora';
import { loraConfig, type Recipe } from './recipe';

type LoraRecipe = NonNullable<Recipe['lora']>;

/** A fresh adapter of a recipe's shape. */
export function freshAdapter(lora: LoraRecipe, model: ModelConfig, seed: number): Adapter {
  return initialAdapter(model, loraConfig(lora, model), seed, lora.init_lora_weights);
}

/**
 * An adapter that was read for the same model, made ready to be trained on by a recipe of its shape: where the recipe's
 * alpha gives another scale, B is divided by the difference, so that training begins with what the adapter does.
 * Throws a RecipeError where modules, ranks or kind differ; `from` is what the error calls the adapter.
 */
export function startingAdapter(lora: LoraRecipe, adapter: Adapter, model: ModelConfig, from: string): Adapter {
  const config = loraConfig(lora, model);
  requireSameShape(config, adapter.config, model, from);
  const tensors: Adapter['tensors'] = new Map(adapter.tensors);
  for (const { path } of targetedModules(model, config.target_modules)) {
    const factor = loraScale(adapter.config, path) / loraScale(config, path);
    const b = tensors.get(peftName(path, 'B'))!;
    // Scales that come from a square root may differ in the last digit and mean the same.
    if (Math.abs(factor - 1) > 1e-6) tensors.set(peftName(path, 'B'), { shape: b.shape, data: b.data.map((value) => value * factor) });
  }
  return { config, tensors, magnitudes: adapter.magnitudes };
}

function requireSameShape(wanted: LoraConfig, found: LoraConfig, model: ModelConfig, from: string): void {
  const differ = (field: string, recipes: unknown, adapters: unknown): never => {
    throw new RecipeError(
      `lora.${field} is ${String(recipes)}, and lora.init_adapter (${from}) has ${String(adapters)}; make the two agree.`,
    );
  };
  const targets = (config: LoraConfig): string => config.target_modules.join(', ');
  if (targets(wanted) !== targets(found)) differ('target_modules', targets(wanted), targets(found));
  if (wanted.use_dora !== found.use_dora) differ('use_dora', wanted.use_dora, found.use_dora);
  const ranks = (config: LoraConfig): number[] => targetedModules(model, wanted.target_modules).map(({ path }) => loraRank(config, path));
  const [mine, its] = [ranks(wanted), ranks(found)];
  const at = mine.findIndex((rank, i) => rank !== its[i]);
  if (at >= 0) {
    const { path } = targetedModules(model, wanted.target_modules)[at]!;
    const uniform = new Set(its).size === 1;
    differ(uniform ? 'r' : 'rank_pattern', uniform ? mine[at] : `${mine[at]} at ${path}`, its[at]);
  }
}
