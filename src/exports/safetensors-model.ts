import type { ByteSink } from '../core/bytes';
import { expectedTensors } from '../core/layout';
import type { ModelSource } from '../core/model';
import type { Json } from '../safetensors/json';
import { SafetensorsWriter, safetensorsSize, tensorBytes, type TensorPlan } from '../safetensors/writer';
import { configJson, configText, fileOf, generationJson, type FloatType } from './config-json';
import { copiedFile, jsonFile, textFile, type ExportFile } from './files';
import { writeFile } from './hashing-sink';
import { mergedModel, rowsAs, type Change } from './merged';

/** Weights handled at once: 4 MB of float32. */
const TILE = 1 << 20;

/** Where a shard ends: transformers' "2GB". */
export const SHARD_BYTES = 2_000_000_000;

/** A model's folder as transformers' save_pretrained writes it. */
export interface FolderExport extends Change {
  model: ModelSource;
  type: FloatType;
  /** The template that training used, null for none; left out: the model's own. */
  chatTemplate?: string | null;
  /** tokenizer.json and tokenizer_config.json for a base that has none, which is what a GGUF file is. */
  tokenizer?: { json: object; config: object } | null;
}

/** The base's own 16-bit type; F16 where its weights lie in another, but BF16 for Gemma, whose activations pass the range of F16. */
export function ownFloatType(model: ModelSource): FloatType {
  const counts = new Map<string, number>();
  for (const { type, shape } of model.tensors.values()) if (shape.length > 1) counts.set(type, (counts.get(type) ?? 0) + 1);
  const [most] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? ['F16'];
  if (most === 'BF16' || most === 'F16') return most;
  return model.config.model_type.startsWith('gemma') ? 'BF16' : 'F16';
}

interface Shard {
  name: string;
  tensors: TensorPlan[];
}

/**
 * Weights shared out over files as huggingface_hub's split_torch_state_dict does it: in order, a new file where the next
 * tensor would pass the limit, a file of its own for a tensor beyond it.
 */
export function shards(model: ModelSource, type: FloatType, limit = SHARD_BYTES): Shard[] {
  const groups: TensorPlan[][] = [];
  let current: TensorPlan[] = [];
  let bytes = 0;
  for (const [name, shape] of expectedTensors(model.config)) {
    const plan: TensorPlan = { name, type, shape };
    const size = tensorBytes(plan);
    if (size > limit) {
      groups.push([plan]);
      continue;
    }
    if (bytes + size > limit) {
      groups.push(current);
      current = [];
      bytes = 0;
    }
    current.push(plan);
    bytes += size;
  }
  if (current.length > 0) groups.push(current);
  if (groups.length === 1) return [{ name: 'model.safetensors', tensors: groups[0]! }];
  const number = (value: number): string => String(value).padStart(5, '0');
  return groups.map((tensors, i) => ({ name: `model-${number(i + 1)}-of-${number(groups.length)}.safetensors`, tensors }));
}

/** Files of a folder that go along unchanged. */
const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'tokenizer.model', 'vocab.json', 'merges.txt', 'added_tokens.json'];

/** Every file of the merged model's folder: small ones first, then the weights, whose presence is what makes a folder a model. */
export async function folderFiles(request: FolderExport, limit = SHARD_BYTES): Promise<ExportFile[]> {
  const { model, type } = request;
  const merged = mergedModel(model, request);
  const parts = shards(model, type, limit);
  const files = [textFile('config.json', configText(await configJson(model, type))), jsonFile('generation_config.json', await generationJson(model)), ...tokenizerFiles(request)];
  if (parts.length > 1) files.push(jsonFile('model.safetensors.index.json', indexJson(parts)));
  for (const { name, tensors } of parts) {
    const bytes = safetensorsSize(tensors, { format: 'pt' });
    files.push({ name, bytes, write: (sink, onBytes) => writeFile(sink, (out) => writeShard(out, merged, tensors), onBytes) });
  }
  return files;
}

function tokenizerFiles({ model, chatTemplate, tokenizer }: FolderExport): ExportFile[] {
  const files: ExportFile[] = [];
  for (const name of TOKENIZER_FILES) {
    const source = fileOf(model, name);
    if (source) files.push(copiedFile(name, source));
  }
  if (tokenizer && !fileOf(model, 'tokenizer.json')) {
    files.push(jsonFile('tokenizer.json', tokenizer.json), jsonFile('tokenizer_config.json', tokenizer.config));
  }
  const template = chatTemplate === undefined ? model.chatTemplate : chatTemplate;
  if (template !== null) files.push(textFile('chat_template.jinja', template));
  return files;
}

function indexJson(parts: readonly Shard[]): Json {
  const entries = parts.flatMap(({ name, tensors }) => tensors.map((tensor) => [tensor.name, name] as const));
  const total_size = parts.flatMap(({ tensors }) => tensors).reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
  return { metadata: { total_size }, weight_map: Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1))) };
}

async function writeShard(sink: ByteSink, merged: ModelSource, tensors: readonly TensorPlan[]): Promise<void> {
  const writer = await SafetensorsWriter.start(sink, tensors, { format: 'pt' });
  for (const { name, shape, type } of tensors) {
    const columns = shape.at(-1)!;
    const rows = shape.length === 1 ? 1 : shape[0]!;
    const tileRows = Math.max(1, Math.floor(TILE / columns));
    for (let first = 0; first < rows; first += tileRows) {
      await writer.append(await rowsAs(merged.tensors.get(name)!, type as FloatType, first, Math.min(tileRows, rows - first)));
    }
  }
  writer.finish();
}
