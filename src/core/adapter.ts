import { ModelError } from './errors';
import { projectionsOf } from './families';
import { PROJECTIONS, projectionPath, type ModelConfig, type Projection } from './model';

/** A LoRA's shape, in PEFT's own key names (adapter_config.json). */
export interface LoraConfig {
  r: number;
  lora_alpha: number;
  lora_dropout: number;
  /** Names of projections (`q_proj`), or ends of module paths up to whole ones (`model.layers.0.mlp.up_proj`). */
  target_modules: readonly string[];
  use_rslora: boolean;
  /** Weight-decomposed LoRA (Liu et al. 2024): each row of W + s·B·A gets a trained length. */
  use_dora: boolean;
  /** Ranks and alphas of modules that differ from `r` and `lora_alpha`, by a pattern of their paths. */
  rank_pattern: Readonly<Record<string, number>>;
  alpha_pattern: Readonly<Record<string, number>>;
}

/**
 * A LoRA adapter in memory: f32 tensors under PEFT's names,
 * `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` with A `[r, in]`, B `[out, r]`.
 */
export interface Adapter {
  config: LoraConfig;
  tensors: Map<string, AdapterTensor>;
  /** DoRA's row lengths `[out]` by module path; empty without DoRA. */
  magnitudes: Map<string, Float32Array>;
}

export interface AdapterTensor {
  shape: [number, number];
  data: Float32Array;
}

/** A module that a LoRA can adapt: its path (`model.layers.0.self_attn.q_proj`) and which projection of which layer it is. */
export interface LoraModule {
  path: string;
  layer: number;
  projection: Projection;
}

/** PEFT's name of one half of a pair, for a module path such as `model.layers.0.self_attn.q_proj`. */
export function peftName(modulePath: string, half: 'A' | 'B'): string {
  return `base_model.model.${modulePath}.lora_${half}.weight`;
}

/** PEFT's name of a module's DoRA magnitudes. */
export function magnitudeName(modulePath: string): string {
  return `base_model.model.${modulePath}.lora_magnitude_vector`;
}

/** Paths of the modules that an adapter's tensors belong to, in the tensors' order. */
export function adaptedPaths(adapter: Adapter): string[] {
  const paths: string[] = [];
  for (const name of adapter.tensors.keys()) {
    const path = /^base_model\.model\.(.+)\.lora_A\.weight$/.exec(name)?.[1];
    if (path !== undefined) paths.push(path);
  }
  return paths;
}

/** Every module of a model that a LoRA can adapt, layer by layer, in the decoder's order. */
export function allModules(config: ModelConfig): LoraModule[] {
  const projections = projectionsOf(config);
  return Array.from({ length: config.num_hidden_layers }, (_, layer) =>
    projections.map((projection) => ({ path: `model.layers.${layer}.${projectionPath(projection)}`, layer, projection })),
  ).flat();
}

/**
 * Modules of a model whose paths end in one of `targets`, PEFT's rule for lists (check_target_module_exists).
 * Throws a ModelError that names a target which no module of the model has.
 */
export function targetedModules(config: ModelConfig, targets: readonly string[]): LoraModule[] {
  const isOf = ({ path }: LoraModule, target: string): boolean => path === target || path.endsWith(`.${target}`);
  const all = allModules(config);
  const unknown = targets.find((target) => !all.some((module) => isOf(module, target)));
  if (unknown !== undefined || targets.length === 0) {
    throw new ModelError(
      `target_modules names ${unknown ?? 'nothing'}, and the modules of this ${config.model_type} model are ` +
        `${projectionsOf(config).join(', ')}; choose among these.`,
    );
  }
  return all.filter((module) => targets.some((target) => isOf(module, target)));
}

/** The shortest target_modules for a set of modules: projections' names where every layer has them alike, else whole paths. */
export function targetNames(config: ModelConfig, paths: readonly string[]): string[] {
  const chosen = new Set(paths);
  const modules = allModules(config).filter(({ path }) => chosen.has(path));
  const names = PROJECTIONS.filter((name) => modules.some(({ projection }) => projection === name));
  return modules.length === names.length * config.num_hidden_layers ? names : modules.map(({ path }) => path);
}

/** The same without a model: of the layers that the paths themselves name. */
export function namesOfPaths(paths: readonly string[]): string[] {
  const layers = new Set(paths.map((path) => path.replace(/\.(self_attn|mlp)\.\w+$/, '')));
  const names = PROJECTIONS.filter((name) => paths.some((path) => path.endsWith(`.${name}`)));
  const isFromFirstToLast = layers.has('model.layers.0') && layers.has(`model.layers.${layers.size - 1}`);
  const isFull = isFromFirstToLast && paths.length === names.length * layers.size;
  return isFull ? names : [...paths];
}

/** A module's rank: rank_pattern's, else `r`. */
export function loraRank(config: LoraConfig, modulePath: string): number {
  return patternValue(config.rank_pattern, modulePath) ?? config.r;
}

/** A module's alpha / r, or alpha / sqrt(r) with rsLoRA: what B·A is multiplied by. */
export function loraScale(config: LoraConfig, modulePath: string): number {
  const alpha = patternValue(config.alpha_pattern, modulePath) ?? config.lora_alpha;
  const r = loraRank(config, modulePath);
  return alpha / (config.use_rslora ? Math.sqrt(r) : r);
}

/** The value of the first key that fits a module's path as PEFT's get_pattern_key has it: the end of the path, from a dot on. */
function patternValue(pattern: Readonly<Record<string, number>>, modulePath: string): number | undefined {
  for (const [key, value] of Object.entries(pattern)) {
    if (matchesPattern(key, modulePath)) return value;
  }
  return undefined;
}

/** A pattern's values by the whole paths of the modules that it fits; `spell`: other paths that a module is known by. */
export function byPath(
  pattern: Readonly<Record<string, number>>,
  paths: readonly string[],
  spell = (path: string): string[] => [path],
): Record<string, number> {
  const entries = paths.flatMap((path): [string, number][] => {
    const key = Object.keys(pattern).find((candidate) => spell(path).some((spelled) => matchesPattern(candidate, spelled)));
    return key === undefined ? [] : [[path, pattern[key]!]];
  });
  return Object.fromEntries(entries);
}

const expressions = new Map<string, RegExp>();

/** Whether a key of rank_pattern or alpha_pattern means a module; `patternComplaint` finds no fault with the key. */
export function matchesPattern(key: string, modulePath: string): boolean {
  const expression = expressions.get(key) ?? new RegExp(`^(?:.*\\.)?(?:${key})$`);
  expressions.set(key, expression);
  return expression.test(modulePath);
}

/**
 * What is wrong with a regular expression from a file, or null: adapters name modules by simple ones, and one whose
 * repetitions are repeated can take longer than anybody waits.
 */
export function patternComplaint(pattern: string): string | null {
  if (pattern.length > 500) return 'is longer than 500 characters';
  if (/\)[*+{]/.test(pattern)) return 'repeats a group';
  if ((pattern.match(/[*+{]/g) ?? []).length > 4) return 'has more than 4 repetitions';
  if (/\(\?[^:]/.test(pattern)) return 'has a group of a kind that Hone does not follow';
  try {
    new RegExp(`^(?:${pattern})$`);
    return null;
  } catch {
    return 'is no regular expression';
  }
}
