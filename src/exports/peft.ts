import { adaptedPaths, byPath, magnitudeName, type Adapter } from '../core/adapter';
import { ExportError } from '../core/errors';
import { safetensorsHeader, type TensorPlan } from '../safetensors/writer';
import { jsonFile, smallFile, textFile, type ExportFile } from './files';
import { allFinite } from './merge';
import { modelCard, type CardFacts } from './model-card';

export interface PeftExport {
  adapter: Adapter;
  /** The base's ModelSource.textPath: PEFT finds an adapter's modules by their paths in the whole model. */
  textPath?: string | undefined;
  card: CardFacts;
}

/**
 * The files that PEFT's `save_pretrained` would write: adapter_model.safetensors, adapter_config.json and README.md.
 * Throws ExportError where the adapter is not finite.
 */
export function peftFiles({ adapter, card, textPath = 'model' }: PeftExport): ExportFile[] {
  return [adapterFile(adapter, textPath), jsonFile('adapter_config.json', adapterConfig(adapter, card.baseModel, textPath)), textFile('README.md', modelCard(card))];
}

function adapterFile(adapter: Adapter, textPath: string): ExportFile {
  const tensors = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  const add = (name: string, shape: readonly number[], data: Float32Array): unknown =>
    tensors.set(name.replace(/^base_model\.model\.model\./, `base_model.model.${textPath}.`), { shape, data });
  for (const [name, { shape, data }] of adapter.tensors) add(name, shape, data);
  for (const [path, data] of adapter.magnitudes) add(magnitudeName(path), [data.length], data);
  const names = [...tensors.keys()].sort();
  for (const name of names) {
    if (!allFinite(tensors.get(name)!.data)) throw new ExportError(`${name} has values that are not finite numbers; export an earlier checkpoint.`);
  }
  const plans = names.map((name): TensorPlan => ({ name, type: 'F32', shape: tensors.get(name)!.shape }));
  const header = safetensorsHeader(plans, { format: 'pt' });
  const data = names.map((name) => tensors.get(name)!.data);
  return smallFile('adapter_model.safetensors', [header, ...data.map((values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength))]);
}

/** adapter_config.json; `lora_alpha` as an integer where it is one, which Ollama insists on. */
function adapterConfig(adapter: Adapter, baseModel: string, textPath: string): object {
  const { config } = adapter;
  const paths = adaptedPaths(adapter);
  const nested = (path: string): string => path.replace(/^model\./, `${textPath}.`);
  // Names alone would fit modules of the other parts as well.
  const patternOf = (pattern: Readonly<Record<string, number>>): object =>
    textPath === 'model' ? pattern : Object.fromEntries(Object.entries(byPath(pattern, paths)).map(([path, value]) => [nested(path), value]));
  return {
    alpha_pattern: patternOf(config.alpha_pattern),
    auto_mapping: null,
    base_model_name_or_path: baseModel,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: config.lora_alpha,
    lora_dropout: config.lora_dropout,
    modules_to_save: null,
    peft_type: 'LORA',
    r: config.r,
    rank_pattern: patternOf(config.rank_pattern),
    revision: null,
    target_modules: textPath === 'model' ? config.target_modules : paths.map(nested),
    task_type: 'CAUSAL_LM',
    use_dora: config.use_dora,
    use_rslora: config.use_rslora,
  };
}
