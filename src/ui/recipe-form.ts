import { matchesPattern, parseRecipe, patternComplaint, PROJECTIONS, projectionPath, RECIPE_FIELDS, type DatasetFormat, type FieldHelp, type ModelSummary, type Recipe } from '../workers/api';
import { BASE_NAMES } from './drift';
import { formatRate } from './format';

/** Named starting points for the settings; `own` keeps whatever is set. */
export type Preset = 'quick' | 'balanced' | 'thorough' | 'own';

export const PRESETS: { id: Exclude<Preset, 'own'>; name: string; promise: string; facts: string }[] = [
  { id: 'quick', name: 'Quick', promise: 'Does it learn?', facts: 'One pass, at most 100 steps, small adapter' },
  { id: 'balanced', name: 'Balanced', promise: 'A good first answer.', facts: 'Two passes, medium adapter' },
  { id: 'thorough', name: 'Thorough', promise: 'Ship it.', facts: 'Three passes, large adapter, lower rate' },
];

interface PresetValues {
  r: number;
  lora_alpha: number;
  max_length: number;
  learning_rate: number;
  num_train_epochs: number;
}

const VALUES: Record<Exclude<Preset, 'own'>, PresetValues> = {
  quick: { r: 8, lora_alpha: 16, max_length: 512, learning_rate: 2e-4, num_train_epochs: 1 },
  balanced: { r: 16, lora_alpha: 32, max_length: 1024, learning_rate: 2e-4, num_train_epochs: 2 },
  thorough: { r: 32, lora_alpha: 64, max_length: 2048, learning_rate: 1e-4, num_train_epochs: 3 },
};

/** The quick preset never trains longer than this. */
export const QUICK_STEPS = 100;

/**
 * A recipe with a preset's settings in place of its own; model, data and prompts stay.
 * `contextLength` caps the length of a row where the model is known.
 */
export function applyPreset(recipe: Recipe, preset: Preset, contextLength = Infinity): Recipe {
  if (preset === 'own') return recipe;
  const { r, lora_alpha, max_length, learning_rate, num_train_epochs } = VALUES[preset];
  const { path, format, sha256 } = recipe.dataset;
  return parseRecipe({
    model: recipe.model,
    dataset: { path, ...(format && { format }), ...(sha256 && { sha256 }) },
    lora: { r, lora_alpha },
    training: { max_length: Math.min(max_length, contextLength), learning_rate, num_train_epochs },
    sample_prompts: [...recipe.sample_prompts],
  });
}

/** The ways rows can be read, in words. */
export const FORMAT_NAMES: Record<DatasetFormat, string> = {
  messages: 'Chat messages',
  sharegpt: 'ShareGPT conversations',
  'prompt-completion': 'Prompt and completion',
  alpaca: 'Instruction, input and output',
  text: 'Plain text',
  tokens: 'Token ids',
};

export type FieldValue = number | boolean | string | string[] | Record<string, number> | undefined;

/** What kind of control a field needs. */
export type FieldKind = 'number' | 'optional-number' | 'switch' | 'choice' | 'projections' | 'patterns';

/** Words for the values of a choice, in the order they are offered. */
export const CHOICES: Record<string, [value: string | boolean, label: string][]> = {
  quantize_base: Object.entries(BASE_NAMES),
  'lora.init_lora_weights': [
    [true, 'Uniform (Kaiming)'],
    ['gaussian', 'Normal (Gaussian)'],
  ],
  'training.lr_scheduler_type': [
    ['cosine', 'Cosine'],
    ['linear', 'Linear'],
    ['constant_with_warmup', 'Constant after warm-up'],
    ['constant', 'Constant'],
  ],
  'dataset.train_on': [
    ['replies', 'All replies'],
    ['last', 'The last reply'],
    ['all', 'Everything'],
  ],
};

const SWITCHES = ['lora.use_rslora', 'lora.use_dora', 'training.packing'];
const OPTIONAL = ['training.max_steps', 'training.eval_steps', 'training.sample_steps', 'training.warmup_steps'];

export function fieldKind(path: string): FieldKind {
  if (path === 'lora.target_modules') return 'projections';
  if (path in CHOICES) return 'choice';
  if (path.endsWith('_pattern')) return 'patterns';
  if (SWITCHES.includes(path)) return 'switch';
  return OPTIONAL.includes(path) ? 'optional-number' : 'number';
}

/** Whether a setting means nothing where every weight is trained. */
export function isAdapterField(path: string): boolean {
  return path.startsWith('lora.') || path === 'quantize_base';
}

/** Reads a field by its dotted path, such as `training.learning_rate`. */
export function readField(recipe: Recipe, path: string): FieldValue {
  let value: unknown = recipe;
  for (const key of path.split('.')) value = (value as Record<string, unknown> | null)?.[key];
  return value as FieldValue;
}

/** Sets a field by its dotted path; undefined removes it, so that its default holds. */
export function writeField(recipe: Recipe, path: string, value: FieldValue): void {
  const keys = path.split('.');
  const last = keys.pop()!;
  let target = recipe as unknown as Record<string, unknown>;
  for (const key of keys) target = target[key] as Record<string, unknown>;
  if (value === undefined) delete target[last];
  else target[last] = value;
}

/** Fields whose value differs between two recipes, in the form's order. */
export function changedFields(recipe: Recipe, other: Recipe): FieldHelp[] {
  const text = (value: FieldValue) => JSON.stringify(Array.isArray(value) ? [...value].sort() : value);
  return RECIPE_FIELDS.filter(({ path }) => text(readField(recipe, path)) !== text(readField(other, path)));
}

/** Fields that count something. */
const WHOLE = /(\.r|steps|size|max_length|seed)$/;

/** What is wrong with a field's value, or null. */
export function fieldComplaint(field: FieldHelp, value: FieldValue): string | null {
  if (fieldKind(field.path) === 'projections') {
    return Array.isArray(value) && value.length === 0 ? 'Choose at least one.' : null;
  }
  if (fieldKind(field.path) === 'patterns') return patternsComplaint(field.path, value);
  if (field.path in CHOICES) return CHOICES[field.path]!.some(([name]) => name === value) ? null : 'Choose one of the list.';
  if (value === undefined || typeof value !== 'number') return null;
  if (!Number.isFinite(value)) return 'Enter a number.';
  if (WHOLE.test(field.path) && !Number.isInteger(value)) return 'Enter a whole number.';
  if (field.min !== undefined && value < field.min) return `At least ${field.min}.`;
  if (field.max !== undefined && value > field.max) return `At most ${field.max}.`;
  return null;
}

function patternsComplaint(path: string, value: FieldValue): string | null {
  if (typeof value !== 'object' || Array.isArray(value)) return 'Give layer names with a number each.';
  for (const [key, number] of Object.entries(value)) {
    const complaint = patternComplaintOf(path, key, number);
    if (complaint) return `${key}: ${complaint}`;
  }
  return null;
}

/** What is wrong with one line of a rank or alpha pattern, or null. */
export function patternComplaintOf(path: string, key: string, number: number): string | null {
  if (key.trim() === '') return 'Name a layer.';
  const complaint = patternComplaint(key);
  if (complaint) return `This pattern ${complaint}.`;
  if (!Number.isFinite(number)) return 'Enter a number.';
  const ranks = path === 'lora.rank_pattern';
  if (ranks && !(Number.isInteger(number) && number >= 1 && number <= 4096)) return 'Enter a whole number from 1 to 4096.';
  return number > 0 ? null : 'Enter a number above 0.';
}

/** How many layers of a model a line of a pattern means. */
export function patternMatches({ layers, projections }: Pick<ModelSummary, 'layers' | 'projections'>, key: string): number {
  const names = Array.from({ length: layers }, (_, layer) => projections.map((projection) => `model.layers.${layer}.${projectionPath(projection)}`));
  return names.flat().filter((name) => matchesPattern(key, name)).length;
}

/** The projections that are chosen of those a model has, and chosen names that are none of them. */
export function chosenProjections(value: FieldValue, projections: readonly string[]): { chosen: string[]; others: string[] } {
  if (!Array.isArray(value)) return { chosen: [...projections], others: [] };
  return { chosen: projections.filter((name) => value.includes(name)), others: value.filter((name) => !projections.includes(name)) };
}

/** Whether a name can stand in target_modules: a projection, or a path that ends in one. */
export function isProjection(name: string): boolean {
  return (PROJECTIONS as readonly string[]).includes(name.split('.').at(-1)!);
}

/** Shares of a whole, shown as percentages. */
export const PERCENT_FIELDS = ['dataset.eval_fraction', 'training.warmup_ratio'];

/** A field's value in words. */
export function fieldText(path: string, value: FieldValue): string {
  if (value === undefined) return 'automatic';
  const choice = CHOICES[path]?.find(([name]) => name === value);
  if (choice) return choice[1];
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (value === 'all-linear') return 'all';
  if (Array.isArray(value)) return value.map((name) => name.replace('_proj', '')).join(', ');
  if (typeof value === 'object') return Object.entries(value).map(([key, number]) => `${key}: ${number}`).join(', ') || 'none';
  if (path === 'training.learning_rate') return formatRate(value as number);
  if (PERCENT_FIELDS.includes(path)) return `${Number((100 * (value as number)).toFixed(2))}%`;
  return String(value);
}
