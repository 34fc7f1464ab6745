import { makeZip, predictLength } from 'client-zip';
import { magnitudeName, type Adapter } from '../core/adapter';
import type { ByteSink } from '../core/bytes';
import { ExportError } from '../core/errors';
import type { OnProgress } from '../core/progress';
import { safetensorsHeader, type TensorPlan } from '../safetensors/writer';
import { writeFile, type Written } from './hashing-sink';
import { allFinite } from './merge';
import { modelCard, type CardFacts } from './model-card';

export interface PeftExport {
  adapter: Adapter;
  card: CardFacts;
}

/** One file of the export; its bytes come in pieces. */
export interface PeftFile {
  name: string;
  bytes: number;
  pieces: () => Iterable<Uint8Array>;
}

/**
 * The files that PEFT's `save_pretrained` would write: adapter_model.safetensors, adapter_config.json and README.md.
 * Throws ExportError where the adapter is not finite.
 */
export function peftFiles({ adapter, card }: PeftExport): PeftFile[] {
  const encoder = new TextEncoder();
  const small = (name: string, content: string): PeftFile => {
    const bytes = encoder.encode(content);
    return { name, bytes: bytes.byteLength, pieces: () => [bytes] };
  };
  return [adapterFile(adapter), small('adapter_config.json', adapterConfig(adapter, card.baseModel)), small('README.md', modelCard(card))];
}

function adapterFile(adapter: Adapter): PeftFile {
  const tensors = new Map<string, { shape: readonly number[]; data: Float32Array }>(adapter.tensors);
  for (const [path, data] of adapter.magnitudes) tensors.set(magnitudeName(path), { shape: [data.length], data });
  const names = [...tensors.keys()].sort();
  for (const name of names) {
    if (!allFinite(tensors.get(name)!.data)) throw new ExportError(`${name} has values that are not finite numbers; export an earlier checkpoint.`);
  }
  const plans = names.map((name): TensorPlan => ({ name, type: 'F32', shape: tensors.get(name)!.shape }));
  const header = safetensorsHeader(plans, { format: 'pt' });
  const data = names.map((name) => tensors.get(name)!.data);
  return {
    name: 'adapter_model.safetensors',
    bytes: data.reduce((sum, values) => sum + values.byteLength, header.byteLength),
    *pieces() {
      yield header;
      for (const values of data) yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    },
  };
}

/** adapter_config.json; `lora_alpha` as an integer where it is one, which Ollama insists on. */
export function adapterConfig({ config }: Adapter, baseModel: string): string {
  const json = {
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
  return `${JSON.stringify(json, null, 2)}\n`;
}

/** Entries of the zip: a fixed date, so that the same adapter gives the same bytes. */
const ZIP_DATE = new Date(Date.UTC(1980, 0, 1, 12));

/** Bytes of the zip that exportPeft writes. */
export function peftZipSize(files: readonly PeftFile[]): number {
  return Number(predictLength(files.map(({ name, bytes }) => ({ name, size: bytes }))));
}

/** Writes the adapter's files as one zip (stored, not compressed) and closes the sink. */
export async function exportPeft(request: PeftExport, sink: ByteSink, onProgress?: OnProgress): Promise<Written> {
  const files = peftFiles(request);
  const total = peftZipSize(files);
  const entries = files.map(({ name, bytes, pieces }) => ({ name, size: bytes, lastModified: ZIP_DATE, input: streamOf(pieces()) }));
  return writeFile(
    sink,
    async (out) => {
      const reader = makeZip(entries).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) await out.write(piece.value);
    },
    (done) => onProgress?.({ label: 'Writing the adapter', done, total, unit: 'bytes' }),
  );
}

/** Copies: the zip writer is free to hand buffers on to a consumer that takes them over. */
async function* streamOf(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield await Promise.resolve(piece.slice());
}
