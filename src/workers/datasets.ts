import { BlobSource, MemorySource, type ByteSource } from '../core/bytes';
import { DatasetError } from '../core/errors';
import type { OnProgress } from '../core/progress';
import { Sha256 } from '../core/sha256';
import { readDataset, type Dataset } from '../data/dataset';
import { previewRow, summarize } from '../data/summary';
import { tokenizeDataset, type TokenizedDataset } from '../data/tokenize';
import { arrange, problemsOf, tokenizing } from '../training/prepare';
import { parseRecipe, type Recipe } from '../training/recipe';
import type { DatasetInput, DatasetOptions, DatasetSummary, RowPreview } from './api';
import type { StudioEnvironment } from './environment';
import type { OpenModel } from './models';
import { Recent } from './recent';
import { DATASET_IDS } from './kept-ids';

/** What the page's site serves under demo/ as the demo's data. */
export const DEMO_DATASET = 'dataset.jsonl';

const HASH_BYTES = 4 * 2 ** 20;
/** Read and tokenised forms that stay in memory: the one on screen and the one before. */
const MOST_KEPT = 2;

/** The data sets of this browser: every one that is opened is kept, under the hash of its content. */
export class DatasetShelf {
  private readonly read = new Recent<Dataset>(MOST_KEPT);
  private readonly tokens = new Recent<TokenizedDataset>(MOST_KEPT);

  constructor(private readonly environment: Pick<StudioEnvironment, 'files' | 'demoFile'>) {}

  /** Opens a data set, keeps it, and reads it for a model. Throws a DatasetError where nothing can be learned from it. */
  async open(input: DatasetInput, model: OpenModel, options: DatasetOptions, onProgress: OnProgress): Promise<DatasetSummary> {
    const id = input.kind === 'stored' ? input.id : await this.keep(await this.sourceOf(input, onProgress), options, onProgress);
    return this.summary(id, model, options, onProgress);
  }

  async summary(id: string, model: OpenModel, options: DatasetOptions, onProgress?: OnProgress): Promise<DatasetSummary> {
    const recipe = recipeOf(id, model, options);
    const dataset = await this.dataset(id, recipe.dataset.format, onProgress);
    const tokenized = await this.tokenized(recipe, model, onProgress);
    const prepared = arrange(recipe, model.source, model.language, dataset, tokenized);
    const figures = summarize(dataset, tokenized, recipe.training.max_length);
    return { id, name: dataset.name, ...figures, problems: problemsOf(prepared), trainRows: prepared.train.length, evalRows: prepared.eval.length };
  }

  async previewRow(id: string, model: OpenModel, row: number, options: DatasetOptions): Promise<RowPreview> {
    const recipe = recipeOf(id, model, options);
    const dataset = await this.dataset(id, recipe.dataset.format);
    const { tokenizer, template } = model.language;
    const preview = previewRow(dataset, row, tokenizer, template, tokenizing(recipe, model.source));
    if (!preview) throw new DatasetError(`Row ${row} of ${dataset.name} is not among its usable rows; choose another.`);
    return preview;
  }

  /** A kept data set's rows. */
  async dataset(id: string, format: Recipe['dataset']['format'], onProgress?: OnProgress): Promise<Dataset> {
    return this.read.get(JSON.stringify([id, format]), async () => {
      const source = await this.source(id);
      return readDataset(source, { ...(format && { format }), ...(onProgress && { onProgress }) });
    });
  }

  /** A kept data set as token ids, under a recipe. */
  async tokenized(recipe: Recipe, model: OpenModel, onProgress?: OnProgress): Promise<TokenizedDataset> {
    const { path, format, train_on } = recipe.dataset;
    return this.tokens.get(JSON.stringify([path, format, model.id, train_on, recipe.training.max_length]), async () => {
      const dataset = await this.dataset(path, format, onProgress);
      const { tokenizer, template } = model.language;
      return tokenizeDataset(dataset, tokenizer, template, { ...tokenizing(recipe, model.source), ...(onProgress && { onProgress }) });
    });
  }

  /** The kept file. Throws a StorageError where it is not there any more. */
  async source(id: string): Promise<ByteSource> {
    const { files } = this.environment;
    const file = (await files.list()).find(({ group, complete }) => group === id && complete);
    if (!file) throw new DatasetError('The data set of this run or draft is not kept in this browser; open its file again.');
    return files.open(id, file.name);
  }

  async list(): Promise<{ id: string; name: string; bytes: number }[]> {
    const files = await this.environment.files.list();
    return files.filter(({ group, complete }) => group.startsWith(DATASET_IDS) && complete).map(({ group, name, bytes }) => ({ id: group, name, bytes }));
  }

  forget(): void {
    this.read.clear();
    this.tokens.clear();
  }

  private async sourceOf(input: Exclude<DatasetInput, { kind: 'stored' }>, onProgress: OnProgress): Promise<ByteSource> {
    switch (input.kind) {
      case 'demo':
        return this.environment.demoFile(DEMO_DATASET, { onProgress });
      case 'file':
        return new BlobSource(input.file);
      case 'text':
        return new MemorySource(new TextEncoder().encode(input.text), input.name);
    }
  }

  /** Reads the file first, so that one that is no data set is not kept; returns the id it is kept under. */
  private async keep(source: ByteSource, { format }: DatasetOptions, onProgress: OnProgress): Promise<string> {
    const dataset = await readDataset(source, { ...(format && { format }), onProgress });
    const id = DATASET_IDS + (await sha256(source)).slice(0, 32);
    const { files } = this.environment;
    const kept = (await files.list()).filter(({ group }) => group === id);
    if (!kept.some(({ complete, name }) => complete && name === source.name)) {
      await files.delete(id);
      await files.put(id, source.name, source, { tag: id, onProgress });
    }
    this.read.set(JSON.stringify([id, format]), dataset);
    return id;
  }
}

async function sha256(source: ByteSource): Promise<string> {
  const hash = new Sha256();
  for (let at = 0; at < source.size; at += HASH_BYTES) hash.update(await source.read(at, Math.min(HASH_BYTES, source.size - at)));
  return hash.hex();
}

/** The page's choices as the recipe they belong to; a length past the model's context is cut to it. */
function recipeOf(id: string, model: OpenModel, { format, trainOn, maxLength, evalFraction }: DatasetOptions): Recipe {
  const context = model.summary.contextLength;
  return parseRecipe({
    model: model.id,
    dataset: {
      path: id,
      ...(format && { format }),
      ...(trainOn && { train_on: trainOn }),
      ...(evalFraction !== undefined && { eval_fraction: evalFraction }),
    },
    training: { max_length: Math.min(maxLength ?? 1024, context) },
  });
}
