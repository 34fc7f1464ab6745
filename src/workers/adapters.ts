import type { Adapter, LoraConfig } from '../core/adapter';
import { BlobSource, MemorySource, type ByteSource } from '../core/bytes';
import { ExportError, ModelError, StorageError } from '../core/errors';
import { Sha256 } from '../core/sha256';
import { mergeAdapters } from '../exports/merge-adapters';
import type { CardFacts } from '../exports/model-card';
import { peftFiles } from '../exports/peft';
import { readAdapter } from '../formats/adapter';
import { baseName, readJson } from '../safetensors/json';
import type { RunRecord } from '../storage/runs';
import { parseRecipe } from '../training/recipe';
import type { AdapterSummary } from './api';
import type { StudioEnvironment } from './environment';
import type { ModelShelf, OpenModel } from './models';
import { Recent } from './recent';
import type { TrainedShelf } from './trained-shelf';
import { ADAPTER_IDS } from './kept-ids';

const RUN_IDS = 'run:';
/** In a kept adapter's group: its summary, written last, so that what was half written is on no list. */
const SUMMARY = 'hone-adapter.json';
const MOST_OPEN = 4;

/** An adapter that was read, under a key that changes when its weights do. */
export interface LoadedAdapter {
  key: string;
  name: string;
  adapter: Adapter;
}

/** The adapters of this browser: what runs have learned, and what was imported or merged, kept as PEFT's files. */
export class AdapterShelf {
  private readonly read = new Recent<Adapter>(MOST_OPEN);

  constructor(
    private readonly environment: Pick<StudioEnvironment, 'files' | 'runs' | 'checkpoints'>,
    private readonly models: ModelShelf,
    private readonly trained: TrainedShelf,
  ) {}

  async list(): Promise<AdapterSummary[]> {
    const found: AdapterSummary[] = [];
    for (const { group, name, complete } of await this.environment.files.list()) {
      if (group.startsWith(ADAPTER_IDS) && name === SUMMARY && complete) found.push(await this.readSummary(group));
    }
    for (const run of await this.environment.runs.list()) {
      const summary = run.savedStep > 0 ? summaryOfRun(run) : null;
      if (summary) found.push(summary);
    }
    return found.sort((a, b) => b.createdAt - a.createdAt);
  }

  /** What kept adapters take of this browser's room. */
  async kept(): Promise<{ id: string; name: string; bytes: number }[]> {
    const names = new Map((await this.list()).map(({ id, name }) => [id, name]));
    const groups = new Map<string, number>();
    for (const { group, bytes } of await this.environment.files.list()) {
      if (group.startsWith(ADAPTER_IDS)) groups.set(group, (groups.get(group) ?? 0) + bytes);
    }
    return [...groups].map(([id, bytes]) => ({ id, name: names.get(id) ?? 'An adapter, not whole', bytes }));
  }

  /** An adapter for its base. Throws a HoneError where it is not kept here, or belongs to another model. */
  async load(id: string, model: OpenModel): Promise<LoadedAdapter> {
    const { name, modelId, modelName } = await this.find(id);
    if (modelId !== model.id) throw new ModelError(`${name} belongs to ${modelName}, and the model here is ${model.summary.name}; choose an adapter of this model.`);
    if (!id.startsWith(RUN_IDS)) return { key: id, name, adapter: await this.read.get(id, () => this.readKept(id, model)) };
    const trained = await this.trained.load(id.slice(RUN_IDS.length), 'best', model.source.config);
    if (trained.kind !== 'adapter') throw new ModelError(`${name} trained every weight, so it has no adapter; choose another run.`);
    return { key: `${id} ${trained.step}`, name, adapter: trained.adapter };
  }

  /** Reads an adapter's files, checks them against a model, and keeps them. */
  async importFiles(files: readonly File[], modelId: string, name = ''): Promise<AdapterSummary> {
    const model = await this.models.get(modelId);
    const sources = files.map((file) => new BlobSource(file, file.webkitRelativePath || file.name));
    const adapter = await readAdapter(sources, model.source.config);
    return this.keep(adapter, model, { name: name.trim() || nameOf(sources), origin: 'imported', madeFor: await namedBase(sources), parts: [] });
  }

  /** Keeps the weighted sum of adapters of one base. */
  async merge(parts: readonly { id: string; weight: number }[], name: string): Promise<AdapterSummary> {
    if (parts.length < 2) throw new ExportError('A merge takes two adapters or more; choose another one as well.');
    const model = await this.models.get((await this.find(parts[0]!.id)).modelId);
    const loaded = [];
    for (const { id, weight } of parts) loaded.push({ ...(await this.load(id, model)), weight });
    const made = loaded.map((part) => ({ name: part.name, weight: part.weight }));
    const fallback = made.map((part) => part.name).join(' + ');
    return this.keep(mergeAdapters(loaded), model, { name: name.trim() || fallback, origin: 'merged', madeFor: null, parts: made });
  }

  async rename(id: string, name: string): Promise<void> {
    const summary = await this.readSummary(id);
    await this.keepSummary({ ...summary, name: name.trim() || summary.name });
  }

  async delete(id: string): Promise<void> {
    await this.environment.files.delete(id);
    this.forget();
  }

  forget(): void {
    this.read.clear();
  }

  /** An adapter with its model, and what a model card says of it. */
  async open(id: string): Promise<{ model: OpenModel; adapter: Adapter; card: CardFacts }> {
    const summary = await this.find(id);
    const model = await this.models.get(summary.modelId);
    return { model, adapter: (await this.load(id, model)).adapter, card: cardOf(summary) };
  }

  private async find(id: string): Promise<AdapterSummary> {
    if (id.startsWith(ADAPTER_IDS)) return this.readSummary(id);
    const run = id.startsWith(RUN_IDS) ? await this.environment.runs.get(id.slice(RUN_IDS.length)) : null;
    const summary = run && summaryOfRun(run);
    if (!summary) throw gone();
    return summary;
  }

  private async readKept(id: string, model: OpenModel): Promise<Adapter> {
    const { files } = this.environment;
    const names = (await files.list()).filter(({ group, name, complete }) => group === id && complete && name !== SUMMARY).map(({ name }) => name);
    return readAdapter(await Promise.all(names.map((name) => files.open(id, name))), model.source.config);
  }

  /** Writes PEFT's files under the hash of their content; nothing stays where one cannot be written. */
  private async keep(adapter: Adapter, model: OpenModel, about: Pick<AdapterSummary, 'name' | 'origin' | 'madeFor' | 'parts'>): Promise<AdapterSummary> {
    const { files } = this.environment;
    const id = ADAPTER_IDS + fingerprint(adapter, model.id);
    const summary: AdapterSummary = {
      ...about,
      ...{ id, modelId: model.id, modelName: model.summary.name, lora: shapeOf(adapter.config), evalLoss: null, createdAt: Date.now() },
      bytes: 0,
    };
    const content = peftFiles({ adapter, card: cardOf(summary) });
    await files.delete(id);
    try {
      for (const { name, bytes, write } of content) await write(await files.write(id, name, { total: bytes }));
      return await this.keepSummary({ ...summary, bytes: content.reduce((sum, { bytes }) => sum + bytes, 0) });
    } catch (error) {
      await files.delete(id);
      throw error;
    }
  }

  private async keepSummary(summary: AdapterSummary): Promise<AdapterSummary> {
    await this.environment.files.put(summary.id, SUMMARY, new MemorySource(new TextEncoder().encode(JSON.stringify(summary)), SUMMARY));
    return summary;
  }

  private async readSummary(id: string): Promise<AdapterSummary> {
    const { files } = this.environment;
    if (!(await files.find(id, SUMMARY))?.complete) throw gone();
    const source = await files.open(id, SUMMARY);
    return JSON.parse(new TextDecoder().decode(await source.read(0, source.size))) as AdapterSummary;
  }
}

function gone(): StorageError {
  return new StorageError('This adapter is not kept in this browser any more; import it again, or choose another.');
}

function shapeOf({ r, lora_alpha, target_modules, use_rslora, use_dora, rank_pattern, alpha_pattern }: LoraConfig): AdapterSummary['lora'] {
  return { r, lora_alpha, target_modules: [...target_modules], use_rslora, use_dora, rank_pattern: { ...rank_pattern }, alpha_pattern: { ...alpha_pattern } };
}

/** A run's adapter on the list; null for a run that trains every weight. */
function summaryOfRun(run: RunRecord): AdapterSummary | null {
  const { lora } = parseRecipe(run.recipe);
  if (!lora) return null;
  const { r, lora_alpha, target_modules, use_rslora, use_dora, rank_pattern, alpha_pattern } = lora;
  return {
    id: RUN_IDS + run.id,
    name: run.name,
    origin: 'run',
    modelId: run.modelId,
    modelName: run.modelName,
    madeFor: null,
    lora: { r, lora_alpha, target_modules, use_rslora, use_dora, rank_pattern, alpha_pattern },
    parts: [],
    bytes: null,
    evalLoss: run.evalLoss,
    createdAt: run.createdAt,
  };
}

/** What an adapter does to which model, in 32 digits: the same weights over the same base are kept once. */
function fingerprint({ config, tensors, magnitudes }: Adapter, modelId: string): string {
  const hash = new Sha256();
  hash.update(new TextEncoder().encode(JSON.stringify([modelId, config])));
  for (const [name, { data }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(new TextEncoder().encode(name));
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  for (const data of magnitudes.values()) hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return hash.hex().slice(0, 32);
}

function cardOf({ name, modelName, parts }: AdapterSummary): CardFacts {
  return { name, baseModel: modelName, facts: parts.map((part) => ({ label: part.name, value: `× ${part.weight}` })) };
}

/** A folder's name, or a GGUF file's without its ending. */
function nameOf(sources: readonly ByteSource[]): string {
  const gguf = sources.find(({ name }) => /\.gguf$/i.test(name));
  if (gguf) return baseName(gguf).replace(/\.gguf$/i, '');
  const folder = sources.map(({ name }) => name.split('/').at(-2)).find((part) => part !== undefined);
  return folder ?? 'Imported adapter';
}

/** The base that PEFT's config names; null in a GGUF, which does not. */
async function namedBase(sources: readonly ByteSource[]): Promise<string | null> {
  const config = sources.find((source) => baseName(source) === 'adapter_config.json');
  const named = config && (await readJson(config)).base_model_name_or_path;
  return typeof named === 'string' && named !== '' ? named.slice(0, 200) : null;
}
