import { adaptedPaths, byPath, loraRank, namesOfPaths, patternComplaint, peftName, type Adapter, type LoraConfig } from '../core/adapter';
import { dequantize } from '../core/blocks';
import type { ByteSource } from '../core/bytes';
import { ModelError, SafetensorsError } from '../core/errors';
import { PROJECTIONS, type Projection } from '../core/model';
import { ConfigFile, baseName, readJson, type Json } from '../safetensors/json';
import { readSafetensors, type SafetensorsInfo } from '../safetensors/reader';

/** Bytes, far above any LoRA that Hone can train; stops a hostile header before memory is asked for. */
export const LARGEST_TENSOR = 1 << 30;

export interface PeftAdapter {
  /** The config's file, for errors. */
  file: string;
  /** Its target_modules are taken from its tensors. */
  adapter: Adapter;
  /** Those of a model's modules that the config targets. */
  targets: (modulePaths: readonly string[]) => string[];
}

/** Reads the two files of a PEFT LoRA and checks them against each other. Throws SafetensorsError or ModelError. */
export async function readPeftAdapter(files: readonly ByteSource[]): Promise<PeftAdapter> {
  const find = (name: string): ByteSource => {
    const file = files.find((candidate) => baseName(candidate) === name);
    if (!file) {
      throw new SafetensorsError(
        `${name} is missing among the adapter's files; choose the whole folder that PEFT wrote, or a GGUF adapter.`,
      );
    }
    return file;
  };
  const configFile = find('adapter_config.json');
  const json = await readJson(configFile);
  const keys = new ConfigFile(configFile.name, json);
  refuseOtherKinds(keys, json);
  const isTarget = targetRule(keys, json);
  const adapter: Adapter = { config: readLoraConfig(keys, json), tensors: new Map(), magnitudes: new Map() };
  const { nested } = await readTensors(find('adapter_model.safetensors'), adapter);
  if (nested) {
    const resolved = (pattern: LoraConfig['rank_pattern']): LoraConfig['rank_pattern'] => byPath(pattern, adaptedPaths(adapter), spellings);
    adapter.config.rank_pattern = resolved(adapter.config.rank_pattern);
    adapter.config.alpha_pattern = resolved(adapter.config.alpha_pattern);
  }
  checkPairs(configFile.name, adapter, isTarget);
  adapter.config.target_modules = namesOfPaths(adaptedPaths(adapter));
  return { file: configFile.name, adapter, targets: (paths) => paths.filter(isTarget) };
}

function readLoraConfig(file: ConfigFile, json: Json): LoraConfig {
  const r = file.number('r');
  const lora_alpha = file.number('lora_alpha');
  const lora_dropout = file.optionalNumber('lora_dropout') ?? 0;
  const isRank = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65536;
  const isAlpha = (value: unknown): boolean => typeof value === 'number' && value > 0 && Number.isFinite(value);
  if (!isRank(r)) throw new ModelError(`${file.file}: the rank r is ${r}, and a whole number above 0 was expected.`);
  if (!isAlpha(lora_alpha)) throw new ModelError(`${file.file}: lora_alpha is ${lora_alpha}, and a positive number was expected.`);
  if (!(lora_dropout >= 0 && lora_dropout < 1)) {
    throw new ModelError(
      `${file.file}: lora_dropout is ${lora_dropout}, and a number from 0 to below 1 was expected.`,
    );
  }
  return {
    r,
    lora_alpha,
    lora_dropout,
    target_modules: [],
    use_rslora: file.optionalBoolean('use_rslora') ?? false,
    use_dora: file.optionalBoolean('use_dora') ?? false,
    rank_pattern: readPattern(file, json, 'rank_pattern', isRank),
    alpha_pattern: readPattern(file, json, 'alpha_pattern', isAlpha),
  };
}

function readPattern(file: ConfigFile, json: Json, key: string, isValue: (value: unknown) => boolean): Record<string, number> {
  if (!file.section(key)) return {};
  const entries = Object.entries(json[key] as Json);
  for (const [pattern, value] of entries) {
    refusePattern(file, key, pattern);
    if (!isValue(value)) {
      throw new ModelError(
        `${file.file}: ${key} has ${JSON.stringify(value)} for ${pattern}, and a number above 0 was expected.`,
      );
    }
  }
  return Object.fromEntries(entries) as Record<string, number>;
}

function refusePattern(file: ConfigFile, key: string, pattern: string): void {
  const complaint = patternComplaint(pattern);
  if (complaint) {
    throw new ModelError(
      `${file.file}: ${key} has the pattern ${pattern.slice(0, 80)}, which ${complaint}; name the modules instead.`,
    );
  }
}

/** Keys whose values make an adapter something else than pairs of matrices beside an untouched base. */
const UNSUPPORTED: readonly [key: string, what: string][] = [
  ['modules_to_save', 'carries whole modules (modules_to_save), which are no adapter that could be switched off or exported as one'],
  ['trainable_token_indices', 'trains tokens of the embedding (trainable_token_indices), which Hone does not apply'],
  ['target_parameters', 'adapts parameters of experts (target_parameters), which no model of Hone\'s has'],
  ['layer_replication', 'repeats layers of the model (layer_replication), which Hone does not do'],
  ['alora_invocation_tokens', 'is switched on by tokens (aLoRA), which Hone does not follow'],
  ['use_bdlora', 'has blocks in its matrices (BD-LoRA), which Hone does not compute'],
  ['kasa_config', 'trains singular values (KaSA), which Hone does not compute'],
  ['monteclora_config', 'draws its weights at random (MonteCLoRA), which Hone does not compute'],
  ['velora_config', 'compresses its inputs (VeLoRA), which Hone does not compute'],
  ['arrow_config', 'routes between adapters (Arrow), which Hone does not do'],
  ['layers_pattern', 'names layers by a pattern of its own (layers_pattern), which Hone does not follow'],
];
/** Ways to begin that take a part out of the base: the saved adapter belongs to what was left. */
const CHANGED_BASE = /^(pissa|olora|corda|loftq|lora_ga)/i;

function refuseOtherKinds(file: ConfigFile, json: Json): void {
  const refuse = (found: string): never => {
    throw new ModelError(`${file.file}: the adapter ${found}; choose a LoRA or DoRA.`);
  };
  const kind = file.optionalString('peft_type') ?? 'missing';
  if (kind !== 'LORA') refuse(`has the peft_type ${kind}, and Hone reads LORA`);
  for (const flag of ['fan_in_fan_out', 'lora_bias', 'use_qalora']) {
    if (file.optionalBoolean(flag)) refuse(`has ${flag} set, which Hone does not compute`);
  }
  const bias = file.optionalString('bias') ?? 'none';
  if (bias !== 'none') refuse(`trains biases (bias: ${bias}), which Hone leaves as they are`);
  for (const [key, what] of UNSUPPORTED) {
    const value = json[key] ?? null;
    const isEmpty = typeof value === 'object' ? Object.keys(value ?? {}).length === 0 : [false, '', 'layers'].includes(value as string | boolean);
    if (!isEmpty) refuse(what);
  }
  const init = json.init_lora_weights;
  if (typeof init === 'string' && CHANGED_BASE.test(init)) {
    refuse(`began as ${init}, so it belongs to a changed base; convert it with PEFT (path_initial_model_for_weight_conversion) first`);
  }
}

/** Whether a module is targeted, as PEFT decides it (check_target_module_exists). */
function targetRule(file: ConfigFile, json: Json): (path: string) => boolean {
  const targets = moduleRule(file, json, 'target_modules');
  if (!targets) {
    throw new ModelError(
      `${file.file}: target_modules names nothing, and Hone adapts ${PROJECTIONS.join(', ')}; choose an adapter of these.`,
    );
  }
  const excluded = moduleRule(file, json, 'exclude_modules');
  const layers = layersOf(file, json);
  const layerOf = (path: string): number => Number(/\.layers\.(\d+)\./.exec(path)?.[1]);
  return (path) => {
    const isIn = (rule: (path: string) => boolean): boolean => spellings(path).some(rule);
    return isIn(targets) && !(excluded && isIn(excluded)) && (!layers || layers.includes(layerOf(path)));
  };
}

/** A text model's path, by itself and inside a multimodal model (transformers 5 and 4). */
function spellings(path: string): string[] {
  const inner = path.slice('model.'.length);
  return [path, `model.language_model.${inner}`, `language_model.model.${inner}`];
}

function moduleRule(file: ConfigFile, json: Json, key: string): ((path: string) => boolean) | null {
  const value = json[key] ?? null;
  if (typeof value !== 'string') {
    const names = file.strings(key) ?? [];
    const isForeign = (name: string): boolean => !PROJECTIONS.includes(name.split('.').at(-1) as Projection);
    const foreign = key === 'target_modules' ? names.find(isForeign) : undefined;
    if (foreign !== undefined) {
      throw new ModelError(
        `${file.file}: target_modules names ${foreign}, and Hone adapts ${PROJECTIONS.join(', ')}; choose an adapter of these alone.`,
      );
    }
    return names.length === 0 ? null : (path) => names.some((name) => path === name || path.endsWith(`.${name}`));
  }
  if (value.toLowerCase() === 'all-linear') return () => true;
  refusePattern(file, key, value);
  const expression = new RegExp(`^(?:${value})$`);
  return (path) => expression.test(path);
}

function layersOf(file: ConfigFile, json: Json): number[] | null {
  const value = json.layers_to_transform ?? null;
  const layers: unknown[] = value === null ? [] : Array.isArray(value) ? value : [value];
  if (!layers.every((layer) => Number.isInteger(layer))) {
    throw new ModelError(
      `${file.file}: layers_to_transform is ${JSON.stringify(value).slice(0, 60)}, and layer numbers were expected; ` +
        'save the adapter again.',
    );
  }
  return layers.length === 0 ? null : (layers as number[]);
}

/** A tensor's module inside the text model, wherever in the whole model that lies, and which part of the adapter it is. */
const TENSOR_NAME =
  /^base_model\.model\.(?:(?:model|language_model)\.){1,2}(layers\.\d+\.(?:self_attn|mlp)\.\w+)\.lora_(A|B|magnitude_vector)(?:\.default)?(?:\.weight)?$/;

/** Fills the adapter; `nested`: its names are those of a multimodal model. */
async function readTensors(file: ByteSource, adapter: Adapter): Promise<{ nested: boolean }> {
  let nested = false;
  for (const info of (await readSafetensors(file)).tensors.values()) {
    const match = TENSOR_NAME.exec(info.name);
    if (!match) {
      throw new ModelError(
        `${file.name}: the adapter holds ${info.name}, which is no LoRA matrix of an attention or MLP projection; choose a plain LoRA.`,
      );
    }
    nested ||= info.name.includes('.language_model.');
    const path = `model.${match[1]!}`;
    const part = match[2] as 'A' | 'B' | 'magnitude_vector';
    const isTwice = part === 'magnitude_vector' ? adapter.magnitudes.has(path) : adapter.tensors.has(peftName(path, part));
    if (isTwice) throw new ModelError(`${file.name}: the adapter holds ${info.name} twice under two names; save it again.`);
    const { shape, data } = await readTensor(file, info, part === 'magnitude_vector' ? 1 : 2);
    if (part === 'magnitude_vector') adapter.magnitudes.set(path, data);
    else adapter.tensors.set(peftName(path, part), { shape: [shape[0]!, shape[1]!], data });
  }
  return { nested };
}

async function readTensor(file: ByteSource, info: SafetensorsInfo, rank: 1 | 2): Promise<{ shape: readonly number[]; data: Float32Array }> {
  const { name, shape, type } = info;
  if (type !== 'F32' && type !== 'F16' && type !== 'BF16') {
    throw new SafetensorsError(
      `${file.name}: tensor ${name} has type ${type}, and F32, F16 or BF16 was expected; save the adapter in one of these.`,
    );
  }
  if (shape.length !== rank || info.bytes > LARGEST_TENSOR) {
    throw new SafetensorsError(
      `${file.name}: tensor ${name} has the shape ${shape.join(' × ')}, ` +
        `and a LoRA ${rank === 1 ? 'vector' : 'matrix'} was expected; choose a plain LoRA.`,
    );
  }
  return { shape, data: dequantize(type, await file.read(info.offset, info.bytes)) };
}

/** Each tensor is part of a pair of its module's rank, on a module that target_modules names. */
function checkPairs(file: string, { config, tensors, magnitudes }: Adapter, isTarget: (path: string) => boolean): void {
  if (tensors.size === 0) throw new ModelError(`${file}: the adapter holds no tensors; save it again after training.`);
  for (const [name, { shape }] of tensors) {
    const [, path, half] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(name) as unknown as [string, string, 'A' | 'B'];
    if (!isTarget(path)) {
      throw new ModelError(
        `${file}: the adapter holds ${name}, which is no LoRA matrix of its target_modules; the files belong to different adapters.`,
      );
    }
    const rank = half === 'A' ? shape[0] : shape[1];
    const wanted = loraRank(config, path);
    if (rank !== wanted) {
      throw new ModelError(
        `${file}: ${name} has rank ${rank}, and the config says r = ${wanted}; the files belong to different adapters.`,
      );
    }
    const other = peftName(path, half === 'A' ? 'B' : 'A');
    if (!tensors.has(other)) throw new ModelError(`${file}: the adapter holds ${name} and lacks ${other}; save it again.`);
    if (config.use_dora && !magnitudes.has(path)) {
      throw new ModelError(`${file}: the adapter uses DoRA and lacks the lora_magnitude_vector of ${path}; save it again.`);
    }
  }
  const idle = [...magnitudes.keys()].find((path) => !config.use_dora || !tensors.has(peftName(path, 'A')));
  if (idle !== undefined) {
    throw new ModelError(
      `${file}: the adapter holds a lora_magnitude_vector of ${idle} that its config has no use for; ` +
        'the files belong to different adapters.',
    );
  }
}
