import type { ByteSource } from '../core/bytes';
import { peftName, type Adapter, type AdapterTensor, type LoraConfig } from '../core/adapter';
import { dequantize } from '../core/blocks';
import { ModelError, SafetensorsError } from '../core/errors';
import { PROJECTIONS, projectionPath, projectionShape, type ModelConfig, type Projection } from '../core/model';
import { ConfigFile, baseName, readJson } from '../safetensors/json';
import { readSafetensors, type SafetensorsInfo } from '../safetensors/reader';

/** Far above any LoRA that Hone can train; stops a hostile header before memory is asked for. */
const LARGEST_TENSOR = 1 << 30;

/**
 * Reads a PEFT LoRA from adapter_config.json and adapter_model.safetensors (F32, F16 or BF16 tensors, given out as f32).
 * With `model`, the tensors are also checked against the model's layers. Throws SafetensorsError where the files are damaged,
 * ModelError where the adapter is of a kind that Hone does not compute or does not fit the model (naming the first difference).
 */
export async function readAdapter(files: readonly ByteSource[], model?: ModelConfig): Promise<Adapter> {
  const find = (name: string): ByteSource => {
    const file = files.find((candidate) => baseName(candidate) === name);
    if (!file) throw new SafetensorsError(`${name} is missing among the adapter's files; choose the whole folder that PEFT wrote.`);
    return file;
  };
  const configFile = find('adapter_config.json');
  const json = new ConfigFile(configFile.name, await readJson(configFile));
  const config = readLoraConfig(json);
  const tensors = await readTensors(find('adapter_model.safetensors'));
  checkPairs(configFile.name, config, tensors);
  if (model) checkAdapter(configFile.name, { config, tensors }, model);
  return { config, tensors };
}

function readLoraConfig(file: ConfigFile): LoraConfig {
  refuseOtherKinds(file);
  const r = file.number('r');
  const lora_alpha = file.number('lora_alpha');
  const lora_dropout = file.optionalNumber('lora_dropout') ?? 0;
  if (!Number.isInteger(r) || r < 1 || r > 65536) throw new ModelError(`${file.file}: the rank r is ${r}, and a whole number above 0 was expected.`);
  if (!(lora_alpha > 0 && Number.isFinite(lora_alpha))) throw new ModelError(`${file.file}: lora_alpha is ${lora_alpha}, and a positive number was expected.`);
  if (!(lora_dropout >= 0 && lora_dropout < 1)) throw new ModelError(`${file.file}: lora_dropout is ${lora_dropout}, and a number from 0 to below 1 was expected.`);
  const named = file.strings('target_modules') ?? [];
  const paths = named.map((name) => name.split('.').at(-1)!);
  const unknown = paths.find((name) => !PROJECTIONS.includes(name as Projection));
  if (named.length === 0 || unknown !== undefined) {
    throw new ModelError(
      `${file.file}: target_modules names ${unknown ?? 'nothing'}, and Hone adapts ${PROJECTIONS.join(', ')}; choose an adapter of these alone.`,
    );
  }
  return {
    r,
    lora_alpha,
    lora_dropout,
    target_modules: PROJECTIONS.filter((projection) => paths.includes(projection)),
    use_rslora: file.optionalBoolean('use_rslora') ?? false,
  };
}

function refuseOtherKinds(file: ConfigFile): void {
  const refuse = (found: string, reason: string): never => {
    throw new ModelError(`${file.file}: the adapter ${found}, ${reason}; choose a plain LoRA.`);
  };
  const kind = file.optionalString('peft_type') ?? 'missing';
  if (kind !== 'LORA') refuse(`has the peft_type ${kind}`, 'and Hone reads LORA');
  if (file.optionalBoolean('use_dora')) refuse('uses DoRA', 'whose magnitudes Hone does not compute');
  if (file.optionalBoolean('fan_in_fan_out')) refuse('has fan_in_fan_out set', "which no model of Hone's needs");
  if ((file.strings('modules_to_save') ?? []).length > 0) refuse('carries whole modules (modules_to_save)', 'which Hone does not apply');
  const bias = file.optionalString('bias') ?? 'none';
  if (bias !== 'none') refuse(`trains biases (bias: ${bias})`, "and Hone's models have none");
  for (const key of ['rank_pattern', 'alpha_pattern']) {
    const pattern = file.section(key);
    if (pattern && !pattern.isEmpty()) refuse(`sets ${key}`, 'and Hone uses one rank and alpha throughout');
  }
}

async function readTensors(file: ByteSource): Promise<Map<string, AdapterTensor>> {
  const tensors = new Map<string, AdapterTensor>();
  for (const info of (await readSafetensors(file)).tensors.values()) tensors.set(info.name, await readTensor(file, info));
  return tensors;
}

async function readTensor(file: ByteSource, info: SafetensorsInfo): Promise<AdapterTensor> {
  const { name, shape, type } = info;
  if (type !== 'F32' && type !== 'F16' && type !== 'BF16') {
    throw new SafetensorsError(`${file.name}: tensor ${name} has type ${type}, and F32, F16 or BF16 was expected; save the adapter in one of these.`);
  }
  if (shape.length !== 2 || info.bytes > LARGEST_TENSOR) {
    throw new SafetensorsError(`${file.name}: tensor ${name} has the shape ${shape.join(' × ')}, and a LoRA matrix was expected; choose a plain LoRA.`);
  }
  return { shape: [shape[0]!, shape[1]!], data: dequantize(type, await file.read(info.offset, info.bytes)) };
}

/** Each tensor is half of a pair of rank r, on a module that target_modules names. */
function checkPairs(file: string, config: LoraConfig, tensors: ReadonlyMap<string, AdapterTensor>): void {
  if (tensors.size === 0) throw new ModelError(`${file}: the adapter holds no tensors; save it again after training.`);
  for (const [name, { shape }] of tensors) {
    const match = /^base_model\.model\.(model\.layers\.\d+\.(?:self_attn|mlp)\.(\w+))\.lora_([AB])\.weight$/.exec(name);
    if (!match || !config.target_modules.includes(match[2] as Projection)) {
      throw new ModelError(`${file}: the adapter holds ${name}, which is no LoRA matrix of its target_modules (${config.target_modules.join(', ')}).`);
    }
    const rank = match[3] === 'A' ? shape[0] : shape[1];
    if (rank !== config.r) throw new ModelError(`${file}: ${name} has rank ${rank}, and the config says r = ${config.r}; the files belong to different adapters.`);
    const other = peftName(match[1]!, match[3] === 'A' ? 'B' : 'A');
    if (!tensors.has(other)) throw new ModelError(`${file}: the adapter holds ${name} and lacks ${other}; save it again.`);
  }
}

/** Checks that an adapter's tensors fit a model, layer by layer. Throws ModelError naming the first that does not. */
export function checkAdapter(file: string, adapter: Adapter, model: ModelConfig): void {
  const { r, target_modules } = adapter.config;
  let expected = 0;
  for (let layer = 0; layer < model.num_hidden_layers; layer++) {
    for (const projection of target_modules) {
      const [out, columns] = projectionShape(model, projection);
      for (const [half, rows, width] of [['A', r, columns], ['B', out, r]] as const) {
        const name = peftName(`model.layers.${layer}.${projectionPath(projection)}`, half);
        const tensor = adapter.tensors.get(name);
        if (!tensor) throw new ModelError(`${file}: the adapter lacks ${name}, which the model's layers ask for; it was made for another model.`);
        if (tensor.shape[0] !== rows || tensor.shape[1] !== width || tensor.data.length !== rows * width) {
          throw new ModelError(
            `${file}: ${name} has the shape ${tensor.shape.join(' × ')}, and the model asks for ${rows} × ${width}; it was made for another model.`,
          );
        }
        expected++;
      }
    }
  }
  if (adapter.tensors.size !== expected) {
    throw new ModelError(`${file}: the adapter has ${adapter.tensors.size} tensors, and the model's layers take ${expected}; it was made for another model.`);
  }
}
