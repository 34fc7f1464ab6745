import { BlobSource, MemorySource, type ByteSource } from '../core/bytes';
import { HubError, ModelError, StorageError } from '../core/errors';
import { projectionsOf } from '../core/families';
import type { ModelSource, WeightType } from '../core/model';
import type { OnProgress } from '../core/progress';
import { Sha256 } from '../core/sha256';
import { modelFiles } from '../formats/model-files';
import { openModel } from '../formats/open-model';
import { canQuantize } from '../formats/quantized';
import { baseName } from '../safetensors/json';
import { downloadModel, listHubFiles } from '../storage/hub-files';
import { languageOf, type Language } from '../training/prepare';
import { ADAPTER_IDS, CERTIFICATE_IDS, DATASET_IDS } from './kept-ids';
import { EXPORT_IDS } from './delivered-export';
import type { HubFile, ModelInput, ModelSummary } from './api';
import type { StudioEnvironment } from './environment';

/** A model that can be trained and asked. */
export interface OpenModel {
  id: string;
  source: ModelSource;
  language: Language;
  summary: ModelSummary;
}

/** What the page's site serves under demo/ as the demo's model. */
export const DEMO_MODEL = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];

const DEMO_NAME = 'hone-demo';

/** In a kept model's group: its summary, written last, so that a list needs to open no model. */
const SUMMARY = 'hone-summary.json';
/** Models that stay open; large vocabularies take memory. */
const MOST_OPEN = 3;
/** Left free beside a kept model, for checkpoints and charts. */
const ROOM = 256 * 2 ** 20;
/** Kept where the browser does not say how much room there is. */
const SMALL = 512 * 2 ** 20;

/** The models of this browser: those it keeps, and those opened from files for this session alone. */
export class ModelShelf {
  private readonly open_ = new Map<string, OpenModel>();
  private cancelling: AbortController | null = null;

  constructor(private readonly environment: Pick<StudioEnvironment, 'files' | 'demoFile' | 'hub' | 'hubEndpoint'>) {}

  /** Opens a model and keeps it where there is room. Throws a HoneError that says what the files are, or what is missing. */
  async open(input: ModelInput, onProgress: OnProgress): Promise<ModelSummary> {
    this.cancel();
    const cancelling = new AbortController();
    this.cancelling = cancelling;
    try {
      return (await this.openFrom(input, onProgress, cancelling.signal)).summary;
    } finally {
      if (this.cancelling === cancelling) this.cancelling = null;
    }
  }

  cancel(): void {
    this.cancelling?.abort();
    this.cancelling = null;
  }

  /** An open model, or a kept one opened again. Throws a ModelError where it is neither. */
  async get(id: string): Promise<OpenModel> {
    const found = this.open_.get(id);
    if (found) return this.remember(found);
    return this.openKept(id);
  }

  async list(): Promise<ModelSummary[]> {
    const kept: ModelSummary[] = [];
    for (const { group, name, complete } of await this.environment.files.list()) {
      if (name === SUMMARY && complete) kept.push(await this.readSummary(group));
    }
    const here = [...this.open_.values()].filter(({ id }) => !kept.some((one) => one.id === id)).map(({ summary }) => summary);
    return [...kept, ...here];
  }

  /** What models take of this browser's room, downloads that have not ended among them. */
  async kept(): Promise<{ id: string; name: string; bytes: number }[]> {
    const names = new Map((await this.list()).map(({ id, name }) => [id, name]));
    const groups = new Map<string, number>();
    for (const { group, bytes } of await this.environment.files.list()) groups.set(group, (groups.get(group) ?? 0) + bytes);
    return [...groups]
      .filter(([id]) => ![DATASET_IDS, ADAPTER_IDS, CERTIFICATE_IDS].some((ids) => id.startsWith(ids)))
      .map(([id, bytes]) => ({ id, name: names.get(id) ?? (id.startsWith(EXPORT_IDS) ? 'An export that did not end' : `${id.replace(/^\w+:/, '')}, not whole`), bytes }));
  }

  async delete(id: string): Promise<void> {
    this.open_.delete(id);
    await this.environment.files.delete(id);
  }

  forget(): void {
    this.cancel();
    this.open_.clear();
  }

  /** Files of a repository that a model can be opened from. Throws a HubError where there is none. */
  async hubFiles(id: string, revision?: string): Promise<HubFile[]> {
    const { hub, hubEndpoint } = this.environment;
    const entries = await listHubFiles(hub, { id, revision, endpoint: hubEndpoint });
    const weights = entries.filter(({ path }) => /\.(gguf|safetensors)$/i.test(path)).map(({ path, bytes }) => ({ path, bytes }));
    if (weights.length > 0) return weights;
    throw new HubError(`${id} has no GGUF and no safetensors file, which are what Hone reads; choose another repository.`);
  }

  private async openFrom(input: ModelInput, onProgress: OnProgress, signal: AbortSignal): Promise<OpenModel> {
    switch (input.kind) {
      case 'stored':
        return this.get(input.id);
      case 'files':
        return this.openFiles(input.files.map((file) => new BlobSource(file, file.webkitRelativePath || file.name)), 'files', onProgress, signal);
      case 'demo': {
        const sources: ByteSource[] = [];
        for (const name of DEMO_MODEL) sources.push(within(DEMO_NAME, await this.environment.demoFile(name, { onProgress, signal })));
        return this.openFiles(sources, 'demo', onProgress, signal);
      }
      case 'hub':
        return this.openFromHub(input, onProgress, signal);
    }
  }

  private async openFromHub(input: Extract<ModelInput, { kind: 'hub' }>, onProgress: OnProgress, signal: AbortSignal): Promise<OpenModel> {
    const { files, hub, hubEndpoint } = this.environment;
    const { id, revision, file } = input;
    const { group } = await downloadModel(id, {
      connection: hub,
      store: files,
      onProgress,
      signal,
      ...(revision !== undefined && { revision }),
      ...(file !== undefined && { file }),
      ...(hubEndpoint !== undefined && { endpoint: hubEndpoint }),
    });
    const source = await openModel(await this.keptSources(group, id.split('/').at(-1)!));
    return this.keepSummary(describe(group, { ...source, name: file === undefined ? id : source.name }, true));
  }

  /** Checks the files first, then copies them where there is room, and reads the copies from then on. */
  private async openFiles(all: readonly ByteSource[], kind: string, onProgress: OnProgress, signal: AbortSignal): Promise<OpenModel> {
    const sources = modelFiles(all);
    const opened = await openModel(sources);
    const id = `${kind}:${await fingerprint(sources)}`;
    const here = describe(id, opened, false);
    if (!(await this.keep(id, sources, onProgress, signal))) return this.remember(here);
    const kept = await openModel(await this.keptSources(id, opened.name));
    return this.keepSummary({ ...here, source: { ...kept, name: opened.name }, summary: { ...here.summary, stored: true } });
  }

  /** True where all files are kept; false where there is no room for them. */
  private async keep(id: string, sources: readonly ByteSource[], onProgress: OnProgress, signal: AbortSignal): Promise<boolean> {
    const { files } = this.environment;
    const bytes = sources.reduce((sum, { size }) => sum + size, 0);
    const free = await files.free();
    if (free === null ? bytes > SMALL : bytes + ROOM > free) return false;
    try {
      for (const source of sources) {
        const name = baseName(source);
        if (!(await files.find(id, name))?.complete) await files.put(id, name, source, { tag: id, onProgress, signal });
      }
      return true;
    } catch (error) {
      if (!(error instanceof StorageError) || signal.aborted) throw error;
      // No room after all: the files themselves can still be read, for as long as the page is open.
      await files.delete(id);
      return false;
    }
  }

  private async openKept(id: string): Promise<OpenModel> {
    if (!(await this.environment.files.find(id, SUMMARY))?.complete) {
      throw new ModelError('The model of this run or draft is not kept in this browser; open its files again, or download it again.');
    }
    const summary = await this.readSummary(id);
    const source = await openModel(await this.keptSources(id, summary.name));
    return this.remember(describe(id, { ...source, name: summary.name }, true));
  }

  private async keptSources(group: string, folder: string): Promise<ByteSource[]> {
    const { files } = this.environment;
    const names = (await files.list()).filter((file) => file.group === group && file.complete && file.name !== SUMMARY).map(({ name }) => name);
    return Promise.all(names.map(async (name) => within(folder, await files.open(group, name))));
  }

  private async readSummary(group: string): Promise<ModelSummary> {
    const source = await this.environment.files.open(group, SUMMARY);
    return JSON.parse(new TextDecoder().decode(await source.read(0, source.size))) as ModelSummary;
  }

  private async keepSummary(model: OpenModel): Promise<OpenModel> {
    const bytes = new TextEncoder().encode(JSON.stringify(model.summary));
    await this.environment.files.put(model.id, SUMMARY, new MemorySource(bytes, SUMMARY));
    return this.remember(model);
  }

  private remember(model: OpenModel): OpenModel {
    this.open_.delete(model.id);
    this.open_.set(model.id, model);
    for (const [id, { summary }] of this.open_) {
      // A model that is not kept is open or gone.
      if (this.open_.size > MOST_OPEN && summary.stored && id !== model.id) this.open_.delete(id);
    }
    return model;
  }
}

/** A source under its folder's name, which is what a model of several files is called by. A GGUF stays by itself. */
function within(folder: string, source: ByteSource): ByteSource {
  if (source.name.endsWith('.gguf')) return source;
  return { name: `${folder}/${source.name}`, size: source.size, read: (offset, length) => source.read(offset, length) };
}

/** Bytes at either end of a file that its fingerprint covers: headers and the last weights differ between models. */
const FINGERPRINT_BYTES = 64 * 1024;

/** A name for the content of files: their names, sizes, and both ends. */
async function fingerprint(sources: readonly ByteSource[]): Promise<string> {
  const hash = new Sha256();
  for (const source of [...sources].sort((a, b) => (baseName(a) < baseName(b) ? -1 : 1))) {
    hash.update(new TextEncoder().encode(`${baseName(source)} ${source.size}\n`));
    const length = Math.min(FINGERPRINT_BYTES, source.size);
    hash.update(await source.read(0, length));
    hash.update(await source.read(source.size - length, length));
  }
  return hash.hex().slice(0, 16);
}

function describe(id: string, source: ModelSource, stored: boolean): OpenModel {
  const { config } = source;
  const language = languageOf(source);
  const types: Partial<Record<WeightType, number>> = {};
  let parameters = 0;
  for (const { type, shape } of source.tensors.values()) {
    types[type] = (types[type] ?? 0) + 1;
    parameters += shape.reduce((product, size) => product * size, 1);
  }
  const summary: ModelSummary = {
    id,
    name: source.name,
    format: source.format,
    architecture: config.model_type,
    parameters,
    bytes: source.bytes,
    types,
    contextLength: config.max_position_embeddings,
    vocabulary: config.vocab_size,
    layers: config.num_hidden_layers,
    hiddenSize: config.hidden_size,
    projections: projectionsOf(config),
    quantizable: canQuantize(source),
    hasTokenizer: language.tokenizer !== null,
    chatTemplate: language.template.name,
    stored,
  };
  return { id, source, language, summary };
}
