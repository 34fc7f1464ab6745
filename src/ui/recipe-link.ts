import { PROJECTIONS, RECIPE_FIELDS, type FieldHelp, type Recipe } from '../workers/api';
import { changedFields, fieldComplaint, fieldKind, readField, type FieldValue } from './recipe-form';

/** Short, readable names of the settings in a link such as `#/new?v=1&base=ID&rank=32`. */
const NAMES: Record<string, string> = {
  rank: 'lora.r',
  alpha: 'lora.lora_alpha',
  layers: 'lora.target_modules',
  dropout: 'lora.lora_dropout',
  rslora: 'lora.use_rslora',
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
    if (name && value !== undefined) parameters.set(name, String(value));
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

function parseValue(path: string, text: string): FieldValue {
  switch (fieldKind(path)) {
    case 'switch':
      return text === 'true' ? true : text === 'false' ? false : undefined;
    case 'choice':
      return text;
    case 'projections': {
      const names = text.split(',');
      return names.every((name) => (PROJECTIONS as readonly string[]).includes(name)) ? names : undefined;
    }
    case 'number':
    case 'optional-number': {
      const value = Number(text);
      return text.trim() !== '' && Number.isFinite(value) ? value : undefined;
    }
  }
}
