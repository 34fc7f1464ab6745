import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import type { Adapter } from '../core/adapter';
import { RecipeError } from '../core/errors';
import type { ModelSource } from '../core/model';
import { trainedBase } from '../formats/quantized';
import { prepare, type Prepared } from '../training/prepare';
import { parseRecipe, withinContext, type Recipe } from '../training/recipe';
import { startingAdapter } from '../training/starting-adapter';
import { openAdapterPath, openModelPath, readJsonFile, sha256Of, withFile } from './files';

/** A recipe with all that it names opened and read. */
export interface OpenedRecipe {
  /** Defaults filled, paths absolute, hashes in place. */
  recipe: Recipe;
  model: ModelSource;
  /** What lies on the GPU: the model itself, or its quantised form. */
  base: ModelSource;
  prepared: Prepared;
  initialAdapter: Adapter | null;
}

/** Opens a recipe file; its paths are relative to it, else to the current folder. Throws a HoneError before anything is taken. */
export async function openRecipe(path: string): Promise<OpenedRecipe> {
  const document = await readJsonFile(path);
  const at = (name: string): string => locate(name, path);
  const model = await openModelPath(at(parseRecipe(document).model));
  const given = withinContext(document, model.config.max_position_embeddings);
  const dataPath = at(given.dataset.path);
  const { prepared, sha256 } = await withFile(dataPath, async (source) => ({
    prepared: await prepare(given, model, source),
    sha256: await sha256Of([source]),
  }));
  const model_sha256 = await sha256Of(model.files);
  requireHash(given.dataset.sha256, sha256, 'dataset.sha256', dataPath);
  requireHash(given.model_sha256, model_sha256, 'model_sha256', given.model);
  const initial = given.lora?.init_adapter;
  const recipe: Recipe = {
    ...given,
    model: at(given.model),
    model_sha256,
    dataset: { ...given.dataset, path: dataPath, sha256 },
    lora: given.lora && { ...given.lora, ...(initial !== undefined && { init_adapter: at(initial) }) },
  };
  const read = initial === undefined ? null : await openAdapterPath(at(initial), model.config);
  const initialAdapter = read && startingAdapter(given.lora!, read, model.config, initial!);
  return { recipe, model, base: trainedBase(model, recipe.quantize_base), prepared, initialAdapter };
}

function locate(name: string, recipePath: string): string {
  if (isAbsolute(name)) return name;
  const beside = resolve(dirname(recipePath), name);
  return existsSync(beside) ? beside : resolve(name);
}

function requireHash(wanted: string | undefined, found: string, field: string, path: string): void {
  if (wanted === undefined || wanted === found) return;
  throw new RecipeError(`${field} is ${wanted}, and ${path} has ${found}; use the file that the recipe was made with, or remove the field.`);
}

/** Throws a RecipeError that names the first setting in which a recipe differs from the one a run was started with; places of files do not count. */
export async function requireSameRecipe(recipe: Recipe, startedWith: string): Promise<void> {
  const before = settings(parseRecipe(await readJsonFile(startedWith)));
  for (const [field, value] of settings(recipe)) {
    const old = before.get(field);
    if (old === value) continue;
    throw new RecipeError(
      `${field} is ${value}, and this run was started with ${old ?? 'nothing'} (${startedWith}); resume it with that recipe, or start another run.`,
    );
  }
}

function settings(recipe: Recipe): Map<string, string> {
  const dataset = { ...recipe.dataset, path: null };
  const lora = recipe.lora && { ...recipe.lora, init_adapter: null };
  const found = new Map<string, string>();
  const walk = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) found.set(path, JSON.stringify(value));
    else for (const [key, inner] of Object.entries(value)) walk(inner, path === '' ? key : `${path}.${key}`);
  };
  walk({ ...recipe, model: null, dataset, lora }, '');
  return found;
}
