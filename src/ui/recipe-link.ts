import { RECIPE_FIELDS, type FieldHelp, type Recipe } from '../workers/api';
import { changedFields, CHOICES, fieldComplaint, fieldKind, isProjection, readField, type FieldValue } from './recipe-form';

/** Short, readable names of the settings in a link such as `#/new?v=1&base=ID&rank=32`. */
const NAMES: Record<string, string> = {
  base_bits: 'quantize_base',
  rank: 'lora.r',
  alpha: 'lora.lora_alpha',
  layers: 'lora.target_modules',
  dropout: 'lora.lora_dropout',
  rslora: 'lora.use_rslora',
  dora: 'lora.use_dora',
  init: 'lora.init_lora_weights',
  ranks: 'lora.rank_pattern',
  alphas: 'lora.alpha_pattern',
  rate: 'training.learning_rate',
  schedule: 'training.lr_scheduler_type',
  warmup: 'training.warmup_ratio',
  passes: 'training.num_train_epochs',
  steps: 'training.max_steps',
  batch: 'training.per_device_train_batch_size',
  accumulation: 'training.gradient_accumulation_steps',
  length: 'training.max_length',
  packing: 'training.packing',
  learn: 'dataset.train_on',
  held_out: 'dataset.eval_fraction',
  decay: 'training.weight_decay',
  clip: 'training.max_grad_norm',
  evaluate: 'training.eval_steps',
  save: 'training.save_steps',
  seed: 'training.seed',
};

export interface LinkChange {
  field: FieldHelp;
  value: FieldValue;
}

/** A link to the page at `address` that carries only the settings that differ from `preset`, and the base; never rows, file names or clients. */
export function recipeLink(address: string, base: string, recipe: Recipe, preset: Recipe): string {
  const parameters = new URLSearchParams({ v: '1' });
  if (base) parameters.set('base', base);
  for (const { path } of changedFields(recipe, preset)) {
    const name = Object.keys(NAMES).find((key) => NAMES[key] === path);
    const value = readField(recipe, path);
    if (name && value !== undefined) parameters.set(name, linkText(value));
  }
  return `${address}#/new?${parameters.toString()}`;
}

/** Reads a link's settings. Names and values that make no sense are returned in `refused`, as text. */
export function readRecipeLink(parameters: URLSearchParams): { base: string; changes: LinkChange[]; refused: string[] } {
  const changes: LinkChange[] = [];
  const refused: string[] = [];
  for (const [name, text] of parameters) {
    if (name === 'v' || name === 'base') continue;
    const field = RECIPE_FIELDS.find(({ path }) => path === NAMES[name]);
    const value = field && parseValue(field.path, text);
    if (!field || value === undefined || fieldComplaint(field, value)) refused.push(`${name}=${text}`);
    else changes.push({ field, value });
  }
  return { base: parameters.get('base') ?? '', changes, refused };
}

function linkText(value: FieldValue): string {
  return typeof value === 'object' && !Array.isArray(value) ? JSON.stringify(value) : String(value);
}

function parseValue(path: string, text: string): FieldValue {
  switch (fieldKind(path)) {
    case 'switch':
      return text === 'true' ? true : text === 'false' ? false : undefined;
    case 'choice':
      return CHOICES[path]?.find(([value]) => String(value) === text)?.[0];
    case 'projections': {
      if (text === 'all-linear') return text;
      const names = text.split(',');
      return names.every(isProjection) ? names : undefined;
    }
    case 'patterns':
      return parsePatterns(text);
    case 'number':
    case 'optional-number': {
      const value = Number(text);
      return text.trim() !== '' && Number.isFinite(value) ? value : undefined;
    }
  }
}

/** `{"up_proj":8}`; undefined where the text is nothing of the kind. */
function parsePatterns(text: string): Record<string, number> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const entries = Object.entries(value).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
    return entries.length === Object.keys(value).length ? Object.fromEntries(entries) : undefined;
  } catch {
    return undefined;
  }
}
