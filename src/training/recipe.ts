import { z } from 'zod';
import { RecipeError } from '../core/errors';
import { allModules, patternComplaint, targetNames, targetedModules, type LoraConfig } from '../core/adapter';
import { PROJECTIONS, type ModelConfig } from '../core/model';

/**
 * A run, described completely: the same document is the page's form, the command line's file and the
 * link people share. LoRA keys are PEFT's, training keys are transformers'.
 */
const isProjection = (name: string): boolean => (PROJECTIONS as readonly string[]).includes(name.split('.').at(-1)!);

const TARGETS = `give "all-linear" or a list of projections: ${PROJECTIONS.join(', ')}`;

/** Values for modules that differ from the others, by a regular expression that ends their paths, as in PEFT. */
const pattern = <T extends z.ZodType>(value: T) =>
  z.record(z.string(), value).superRefine((entries, context) => {
    for (const key of Object.keys(entries)) {
      const complaint = patternComplaint(key);
      if (complaint) context.addIssue({ code: 'custom', path: [key], message: `the pattern ${complaint}` });
    }
  });

const lora = z.strictObject({
  r: z.int().min(1).max(4096).default(16),
  lora_alpha: z.number().positive().default(32),
  lora_dropout: z.number().min(0).max(0.9).default(0),
  /** Projections, or ends of module paths up to whole ones; all-linear: every projection that the model has. */
  target_modules: z
    .union([z.literal('all-linear'), z.array(z.string().refine(isProjection, { error: TARGETS })).min(1)], { error: TARGETS })
    .default('all-linear'),
  use_rslora: z.boolean().default(false),
  use_dora: z.boolean().default(false),
  rank_pattern: pattern(z.int().min(1).max(4096)).default({}),
  alpha_pattern: pattern(z.number().positive()).default({}),
  /** How fresh weights are drawn. */
  init_lora_weights: z
    .union([z.literal(true), z.literal('gaussian')], {
      error:
        'Hone draws fresh weights as PEFT does for true (Kaiming) and "gaussian"; PiSSA, OLoRA and the like take parts out of the base, ' +
        'which stays as it is here',
    })
    .default(true),
  modules_to_save: z
    .null({
      error:
        'whole modules beside the adapter are not trained, because no GGUF or MLX adapter can carry them; ' +
        'set lora to null to train every weight',
    })
    .optional(),
  /** An adapter (PEFT folder or GGUF file) of the same shape to start from instead of fresh weights. */
  init_adapter: z.string().optional(),
});

const dataset = z.strictObject({
  /** File the rows come from; the page names the data set it keeps. */
  path: z.string(),
  /** How rows are read; left out, the format that fits the rows is found. */
  format: z.enum(['messages', 'sharegpt', 'prompt-completion', 'alpaca', 'text', 'tokens']).optional(),
  shuffle: z.boolean().default(true),
  /** Share of rows held out for evaluation: whole rows, evenly spread. */
  eval_fraction: z.number().min(0).max(0.5).default(0.1),
  /** Which tokens are learned: the assistant's replies, only the last reply, or everything. */
  train_on: z.enum(['replies', 'last', 'all']).default('replies'),
  /** sha256 of the file, written by Hone when a run starts. */
  sha256: z.string().optional(),
});

const training = z.strictObject({
  learning_rate: z.number().positive().max(1).default(2e-4),
  lr_scheduler_type: z.enum(['constant', 'constant_with_warmup', 'linear', 'cosine']).default('cosine'),
  warmup_steps: z.int().min(0).optional(),
  /** Share of all steps that warm up, used where warmup_steps is left out. */
  warmup_ratio: z.number().min(0).max(0.5).default(0.05),
  num_train_epochs: z.number().positive().max(1000).default(2),
  /** Number of optimizer steps; where given, it overrules num_train_epochs. */
  max_steps: z.int().min(1).optional(),
  per_device_train_batch_size: z.int().min(1).max(4096).default(1),
  gradient_accumulation_steps: z.int().min(1).max(4096).default(8),
  weight_decay: z.number().min(0).max(1).default(0.01),
  adam_beta1: z.number().min(0).lt(1).default(0.9),
  adam_beta2: z.number().min(0).lt(1).default(0.999),
  adam_epsilon: z.number().positive().default(1e-8),
  /** Global norm that the gradient is clipped to; 0 switches clipping off. */
  max_grad_norm: z.number().min(0).default(1),
  seed: z.int().min(0).max(0xffffffff).default(42),
  /** Longest row in tokens; longer rows are cut. */
  max_length: z.int().min(2).default(1024),
  /** Short rows share a sequence, unseen by each other. */
  packing: z.boolean().default(true),
  /** Steps between evaluations; left out: a tenth of the run. */
  eval_steps: z.int().min(1).optional(),
  /** Steps between checkpoints. */
  save_steps: z.int().min(1).default(50),
  /** Steps between sample generations; left out: as eval_steps. */
  sample_steps: z.int().min(1).optional(),
});

export const recipeSchema = z.strictObject({
  /** GGUF file or model folder; the page names the model it keeps. */
  model: z.string(),
  /** sha256 of the model's file (of several: of their hashes and names as sha256sum lists them), written by Hone when a run starts. */
  model_sha256: z.string().optional(),
  /** What the base's 16- and 32-bit matrices become on the GPU while an adapter is trained over them; exports merge into the original. */
  quantize_base: z.enum(['none', 'Q8_0', 'Q4_0']).default('none'),
  dataset,
  /** null trains every weight of the model instead of an adapter. */
  lora: lora.nullable().prefault({}),
  training: training.prefault({}),
  /** User messages whose answers are generated along the way, to watch the model change. */
  sample_prompts: z.array(z.string()).max(8).default([]),
});

export type Recipe = z.output<typeof recipeSchema>;
export type RecipeInput = z.input<typeof recipeSchema>;

/** Checks a document against the schema and fills in defaults; throws a RecipeError naming the first bad field. */
export function parseRecipe(document: unknown): Recipe {
  const result = recipeSchema.safeParse(document);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const field = issue.path.join('.') || 'the recipe';
  throw new RecipeError(`${field}: ${issue.message}; correct it in the recipe and start again.`);
}

/**
 * The adapter's shape over a model: all-linear resolved, and modules named as shortly as can be. Throws a ModelError where the
 * model lacks a module that the recipe targets; a pattern that means none of them has no effect, as in PEFT.
 */
export function loraConfig(lora: NonNullable<Recipe['lora']>, model: ModelConfig): LoraConfig {
  const { r, lora_alpha, lora_dropout, target_modules, use_rslora, use_dora, rank_pattern, alpha_pattern } = lora;
  const modules = target_modules === 'all-linear' ? allModules(model) : targetedModules(model, target_modules);
  const names = targetNames(model, modules.map(({ path }) => path));
  return { r, lora_alpha, lora_dropout, target_modules: names, use_rslora, use_dora, rank_pattern, alpha_pattern };
}

/** An adapter's settings in a line, for model cards. */
export function loraWords({ r, lora_alpha, target_modules, use_rslora, use_dora }: NonNullable<Recipe['lora']>): string {
  const modules = target_modules === 'all-linear' ? 'all projections' : target_modules.join(', ');
  const kind = [use_rslora && 'rank-stabilised', use_dora && 'DoRA'].filter((word) => word !== false);
  return [`rank ${r}`, `alpha ${lora_alpha}`, modules, ...kind].join(', ');
}

/** The recipe, with a length that it leaves open no longer than the model's context; one that it names is left as it is. */
export function withinContext(document: unknown, context: number): Recipe {
  const recipe = parseRecipe(document);
  const named = (document as RecipeInput).training?.max_length !== undefined;
  if (!named) recipe.training.max_length = Math.min(recipe.training.max_length, context);
  return recipe;
}

/** How a setting is shown: plain word first, then the field's own term, with one sentence of help. */
export interface FieldHelp {
  path: string;
  label: string;
  help: string;
  unit?: string;
  min?: number;
  max?: number;
}

/** The form's fields in the order they are shown. Ranges are what a person may sensibly choose. */
export const RECIPE_FIELDS: readonly FieldHelp[] = [
  { path: 'quantize_base', label: 'Base in memory', help: 'Fewer bits need less memory and stray from the original; by how much is measured on your rows.' },
  { path: 'lora.r', label: 'Adapter size (rank)', help: 'Bigger learns more, needs more memory.', min: 1, max: 256 },
  { path: 'lora.lora_alpha', label: 'Strength (alpha)', help: 'How strongly the adapter acts; usually twice the size.', min: 1, max: 512 },
  { path: 'lora.target_modules', label: 'Layers', help: 'Fewer save memory and learn less.' },
  { path: 'lora.lora_dropout', label: 'Dropout', help: 'A little can help on small data sets.', min: 0, max: 0.5 },
  { path: 'lora.use_rslora', label: 'Rank-stabilised scale (rsLoRA)', help: 'Steadier from rank 64 up.' },
  { path: 'lora.use_dora', label: 'Trained row lengths (DoRA)', help: 'Often learns more at small sizes; slower, and exports only as PEFT or merged.' },
  { path: 'lora.init_lora_weights', label: 'First weights (init)', help: 'How a fresh adapter is drawn; either way it changes nothing before the first step.' },
  { path: 'lora.rank_pattern', label: 'Sizes of single layers (rank pattern)', help: 'Ends of layer names, such as layers.0.mlp.up_proj, that get a size of their own.' },
  { path: 'lora.alpha_pattern', label: 'Strengths of single layers (alpha pattern)', help: 'The same for the strength.' },
  { path: 'training.learning_rate', label: 'Learning rate', help: 'Too high breaks the model, too low barely teaches it.', min: 1e-6, max: 1e-2 },
  { path: 'training.lr_scheduler_type', label: 'Rate over time (schedule)', help: 'Cosine starts gently and ends slowly.' },
  { path: 'training.warmup_ratio', label: 'Warm-up', help: 'Share of the run in which the rate rises from zero.', min: 0, max: 0.5 },
  { path: 'training.num_train_epochs', label: 'Passes (epochs)', help: 'How often each row is seen.', min: 0.1, max: 20 },
  { path: 'training.max_steps', label: 'Steps', help: 'A fixed number of updates instead of passes.', min: 1, unit: 'steps' },
  { path: 'training.per_device_train_batch_size', label: 'Rows at once (batch)', help: 'More is quicker and needs more memory.', min: 1, max: 64, unit: 'rows' },
  { path: 'training.gradient_accumulation_steps', label: 'Accumulation', help: 'Batches an update; costs only time.', min: 1, max: 64 },
  { path: 'training.max_length', label: 'Max length', help: 'Longer rows are cut; the check of the data says how many.', min: 64, unit: 'tokens' },
  { path: 'training.packing', label: 'Packing', help: 'Short rows share a sequence, unseen by each other.' },
  { path: 'dataset.train_on', label: 'Learn from', help: 'Which words count.' },
  { path: 'dataset.eval_fraction', label: 'Held out', help: 'Share of rows kept aside to notice overfitting.', min: 0, max: 0.3 },
  { path: 'training.weight_decay', label: 'Weight decay', help: 'Keeps updates small.', min: 0, max: 1 },
  { path: 'training.max_grad_norm', label: 'Clip (gradient norm)', help: 'Caps a single update; 0 switches it off.', min: 0, max: 10 },
  { path: 'training.eval_steps', label: 'Evaluate every', help: 'How often the held-out rows are checked.', min: 1, unit: 'steps' },
  { path: 'training.save_steps', label: 'Save every', help: 'What a crash can cost.', min: 1, unit: 'steps' },
  { path: 'training.seed', label: 'Seed', help: 'Same seed and device, same run.', min: 0, max: 0xffffffff },
];
