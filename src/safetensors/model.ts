import type { ByteSource } from '../core/bytes';
import { ModelError, SafetensorsError } from '../core/errors';
import { checkRows, checkTensors } from '../core/layout';
import { rowBytes, type ModelSource, type StoredTensor, type TokenizerSource, type WeightType } from '../core/model';
import { readConfig } from './config';
import { ConfigFile, baseName, readJson, readText, type Json } from './json';
import { readSafetensors, type SafetensorsInfo } from './reader';

/**
 * Opens a model from the files of a Hugging Face folder: config.json, model.safetensors (or shards with their index),
 * and where present tokenizer.json, tokenizer_config.json, chat_template.jinja, generation_config.json.
 * Reads headers and JSON alone; weights are read row by row later. Throws SafetensorsError or ModelError.
 */
export async function openSafetensorsModel(files: readonly ByteSource[]): Promise<ModelSource> {
  const byName = new Map(files.map((file) => [baseName(file), file]));
  const configFile = byName.get('config.json');
  if (!configFile) throw new SafetensorsError(`config.json is missing beside ${weightFiles(files)}; choose the model's whole folder.`);
  const stored = await collectTensors(byName);
  const found = textTensors(stored);
  const generation = byName.get('generation_config.json');
  const config = readConfig(
    new ConfigFile(configFile.name, await readJson(configFile)),
    generation ? new ConfigFile(generation.name, await readJson(generation)) : null,
    found.has('lm_head.weight'),
  );
  // A tied head's copy is never read by transformers either.
  if (config.tie_word_embeddings) found.delete('lm_head.weight');
  checkTensors(configFile.name, config, found);
  const { tokenizer, chatTemplate } = await readTokenizer(byName, config.vocab_size);
  return {
    name: modelName(configFile),
    format: 'safetensors',
    config,
    tensors: found,
    tokenizer,
    chatTemplate,
    ...([...stored.keys()].some((name) => OTHER_PARTS.test(name) || TEXT_PREFIX.test(name)) && { textPath: 'model.language_model' }),
    bytes: files.reduce((sum, file) => sum + file.size, 0),
    files: [...files].sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

/** What a model that sees or hears adds to its text part. */
const OTHER_PARTS = /^(?:model\.)?(?:vision_tower|vision_model|visual|multi_modal_projector|audio_tower)\./;
/** Where such models keep the text part: `language_model.model.layers…` (transformers 4), `model.language_model.layers…` (5). */
const TEXT_PREFIX = /^(?:language_model\.(?=model\.|lm_head\.)|(?<model>model\.)language_model\.)/;

/** The text part's weights under the names that they have in a text model; rope frequencies, which Llama 2's files still hold, follow from the config. */
function textTensors(tensors: ReadonlyMap<string, StoredTensor>): Map<string, StoredTensor> {
  const text = [...tensors.values()].filter(({ name }) => !OTHER_PARTS.test(name) && !name.endsWith('.rotary_emb.inv_freq'));
  return new Map(
    text.map((tensor) => {
      const name = tensor.name.replace(TEXT_PREFIX, (_, model: string | undefined) => model ?? '');
      return [name, { ...tensor, name }];
    }),
  );
}

function weightFiles(files: readonly ByteSource[]): string {
  return files.find((file) => file.name.endsWith('.safetensors'))?.name ?? 'the files chosen';
}

/** The folder's name where the source's path tells it. */
function modelName(config: ByteSource): string {
  return config.name.split(/[\\/]/).at(-2) ?? 'model';
}

async function collectTensors(byName: Map<string, ByteSource>): Promise<Map<string, StoredTensor>> {
  const tensors = new Map<string, StoredTensor>();
  for (const file of await chooseShards(byName)) {
    for (const info of (await readSafetensors(file)).tensors.values()) {
      // Old conversions of Llama 2 carry this buffer, which follows from the config.
      if (info.name.endsWith('.rotary_emb.inv_freq')) continue;
      if (tensors.has(info.name)) throw new SafetensorsError(`${file.name}: the weight ${info.name} is also in another file; choose one model's files only.`);
      tensors.set(info.name, storedTensor(file, info));
    }
  }
  return tensors;
}

async function chooseShards(byName: Map<string, ByteSource>): Promise<ByteSource[]> {
  const index = byName.get('model.safetensors.index.json');
  if (index) {
    const map = (await readJson(index))['weight_map'];
    if (typeof map !== 'object' || map === null) throw new SafetensorsError(`${index.name}: weight_map is missing; download the file again.`);
    return [...new Set(Object.values(map as Json))].map((name) => {
      const shard = byName.get(String(name));
      if (!shard) throw new SafetensorsError(`${index.name}: the file ${String(name)} is named and missing; add it to the files.`);
      return shard;
    });
  }
  const whole = byName.get('model.safetensors');
  if (whole) return [whole];
  const others = [...byName].filter(([name]) => name.endsWith('.safetensors') && !name.startsWith('adapter_'));
  if (others.length === 0) throw new SafetensorsError('no .safetensors file is among the files; choose the whole folder of a model.');
  if (others.length > 1) {
    throw new SafetensorsError(
      `${others.length} .safetensors files (${others[0]![0]}, …) came without model.safetensors.index.json; add the index so that their order is known.`,
    );
  }
  return others.map(([, file]) => file);
}

function storedTensor(file: ByteSource, info: SafetensorsInfo): StoredTensor {
  const { name, shape, type } = info;
  if (type !== 'F32' && type !== 'F16' && type !== 'BF16') {
    throw new SafetensorsError(`${file.name}: the weight ${name} has type ${type}, and Hone reads F32, F16 and BF16; choose an unquantised model.`);
  }
  if (info.bytes === 0) throw new SafetensorsError(`${file.name}: the weight ${name} is empty (${shape.join(' × ')}); download the file again.`);
  const weightType: WeightType = type;
  const stride = rowBytes(weightType, shape.at(-1) ?? 1);
  const rows = info.bytes / stride;
  return {
    name,
    shape,
    type: weightType,
    readRows: async (first, count) => {
      checkRows(name, rows, first, count);
      return file.read(info.offset + first * stride, count * stride);
    },
  };
}

async function readTokenizer(
  byName: Map<string, ByteSource>,
  vocabSize: number,
): Promise<{ tokenizer: TokenizerSource | null; chatTemplate: string | null }> {
  const file = byName.get('tokenizer.json');
  const configFile = byName.get('tokenizer_config.json');
  const special = byName.get('special_tokens_map.json');
  const config: Json = { ...(special ? await readJson(special) : {}), ...(configFile ? await readJson(configFile) : {}) };
  const template = byName.get('chat_template.jinja');
  const chatTemplate = template ? await readText(template) : templateOf(config['chat_template']);
  if (!file) return { tokenizer: null, chatTemplate };
  const tokenizer = withoutPictures(await readJson(file), vocabSize);
  const largest = largestId(file, tokenizer);
  if (largest >= vocabSize) {
    throw new ModelError(
      `${file.name}: the vocabulary has the id ${largest}, and the embedding has ${vocabSize} rows; tokenizer and model do not belong together.`,
    );
  }
  return { tokenizer: { kind: 'huggingface', tokenizer, config }, chatTemplate };
}

/** A template, or the one named "default" of several. */
function templateOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return null;
  const named = value as ({ name?: unknown; template?: unknown } | null)[];
  const chosen = named.find((entry) => entry?.name === 'default')?.template;
  return typeof chosen === 'string' ? chosen : null;
}

/**
 * A tokenizer.json without added tokens past the embedding that stand for pictures or sound: Gemma 3's text models have the
 * tokenizer of the others, with `<image_soft_token>` for a row that only those have.
 */
function withoutPictures(tokenizer: Json, vocabSize: number): Json {
  const added = tokenizer['added_tokens'];
  if (!Array.isArray(added)) return tokenizer;
  const kept = (added as ({ id?: unknown; content?: unknown } | null)[]).filter(
    (token) => !(typeof token?.id === 'number' && token.id >= vocabSize && /image|audio|video/i.test(String(token.content))),
  );
  return { ...tokenizer, added_tokens: kept };
}

function largestId(file: ByteSource, tokenizer: Json): number {
  const vocab = (tokenizer['model'] as { vocab?: unknown } | undefined)?.vocab;
  if (typeof vocab !== 'object' || vocab === null) {
    throw new SafetensorsError(`${file.name}: model.vocab is missing; the file is no tokenizer of Hugging Face's tokenizers, download it again.`);
  }
  const added = tokenizer['added_tokens'];
  const ids: unknown[] = Array.isArray(vocab) ? [vocab.length - 1] : Object.values(vocab);
  if (Array.isArray(added)) for (const token of added as ({ id?: unknown } | null)[]) ids.push(token?.id);
  let largest = -1;
  for (const id of ids) {
    if (typeof id !== 'number') throw new SafetensorsError(`${file.name}: a token's id is ${String(id)}, and a number was expected; download the file again.`);
    if (id > largest) largest = id;
  }
  return largest;
}
