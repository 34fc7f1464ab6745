import { magnitudeName, type Adapter } from '../core/adapter';
import { ExportError } from '../core/errors';
import { safetensorsHeader, type TensorPlan } from '../safetensors/writer';
import { jsonFile, smallFile, textFile, type ExportFile } from './files';
import { allFinite } from './merge';
import { modelCard, type CardFacts } from './model-card';

export interface PeftExport {
  adapter: Adapter;
  card: CardFacts;
}

/**
 * The files that PEFT's `save_pretrained` would write: adapter_model.safetensors, adapter_config.json and README.md.
 * Throws ExportError where the adapter is not finite.
 */
export function peftFiles({ adapter, card }: PeftExport): ExportFile[] {
  return [adapterFile(adapter), jsonFile('adapter_config.json', adapterConfig(adapter, card.baseModel)), textFile('README.md', modelCard(card))];
}

function adapterFile(adapter: Adapter): ExportFile {
  const tensors = new Map<string, { shape: readonly number[]; data: Float32Array }>(adapter.tensors);
  for (const [path, data] of adapter.magnitudes) tensors.set(magnitudeName(path), { shape: [data.length], data });
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
function adapterConfig({ config }: Adapter, baseModel: string): object {
  return {
    alpha_pattern: config.alpha_pattern,
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
    rank_pattern: config.rank_pattern,
    revision: null,
    target_modules: config.target_modules,
    task_type: 'CAUSAL_LM',
    use_dora: config.use_dora,
    use_rslora: config.use_rslora,
  };
}
