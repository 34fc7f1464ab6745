import { proxy } from 'comlink';
import type {
  AdapterSummary,
  DatasetInput,
  DatasetOptions,
  DatasetSummary,
  Forecast,
  ModelInput,
  ModelSummary,
  Progress,
  Recipe,
} from '../../workers/api';
import { disagreement, followAdapter } from '../adapter-words';
import { applyPreset, QUICK_STEPS, type Preset } from '../recipe-form';
import { adapters } from './adapters.svelte';
import { device } from './device.svelte';
import type { Draft } from './drafts.svelte';
import type { Step } from './router.svelte';
import { storage } from './storage.svelte';
import { studio, toFailure, type Failure } from './studio';

/** Something that keeps a draft from starting, and the step where it is put right. */
export interface Missing {
  step: Step;
  text: string;
}

/** The draft on screen with what the worker knows about it: its model, its data and the forecast. */
class Workspace {
  draft = $state<Draft | null>(null);
  model = $state.raw<ModelSummary | null>(null);
  dataset = $state.raw<DatasetSummary | null>(null);
  forecast = $state.raw<Forecast | null>(null);
  modelProgress = $state.raw<Progress | null>(null);
  dataProgress = $state.raw<Progress | null>(null);
  modelFailure = $state.raw<Failure | null>(null);
  dataFailure = $state.raw<Failure | null>(null);
  forecastFailure = $state.raw<Failure | null>(null);
  /** Counts the calls of a kind, so that a late answer to an old question is dropped. */
  private calls = { model: 0, data: 0, forecast: 0 };
  // News of progress may arrive after the answer, through a port of its own: it counts only while progress is shown.
  /** The question that `dataset` answers. */
  private dataKey = '';

  constructor() {
    $effect.root(() => {
      $effect(() => this.refreshDataLater());
      $effect(() => this.refreshForecastLater());
    });
  }

  /** Brings a draft on screen and opens what it names, as far as this browser keeps it. */
  async show(draft: Draft): Promise<void> {
    if (this.draft?.id === draft.id) return;
    this.draft = draft;
    this.model = null;
    this.dataset = null;
    this.forecast = null;
    this.modelFailure = this.dataFailure = this.forecastFailure = null;
    this.calls.model += 1;
    this.calls.data += 1;
    this.modelProgress = this.dataProgress = null;
    if (draft.recipe.model) await this.openModel({ kind: 'stored', id: draft.recipe.model });
    if (this.model && draft.recipe.dataset.path && this.draft?.id === draft.id) {
      await this.openData({ kind: 'stored', id: draft.recipe.dataset.path });
    }
  }

  /** Forgets the draft on screen, for instance because it has become a run. */
  leave(): void {
    this.draft = null;
    this.model = null;
    this.dataset = null;
    this.forecast = null;
  }

  async openModel(input: ModelInput): Promise<void> {
    const draft = this.draft;
    if (!draft) return;
    const call = ++this.calls.model;
    const current = () => call === this.calls.model;
    this.modelFailure = null;
    this.modelProgress = { label: 'Opening', done: 0, total: 0, unit: 'bytes' };
    try {
      const model = await studio.openModel(
        input,
        proxy((progress: Progress) => {
          if (current() && this.modelProgress) this.modelProgress = progress;
        }),
      );
      if (!current()) return;
      this.model = model;
      // An adapter belongs to the model it was made for.
      if (draft.recipe.model !== model.id) delete draft.recipe.lora?.init_adapter;
      draft.recipe.model = model.id;
      draft.modelName = model.name;
      draft.recipe.training.max_length = Math.min(draft.recipe.training.max_length, model.contextLength);
      draft.updatedAt = Date.now();
      void storage.load();
    } catch (thrown) {
      if (current()) this.modelFailure = toFailure(thrown);
    } finally {
      if (current()) this.modelProgress = null;
    }
  }

  /** Stops the download or read that runs; what arrived is kept. */
  async cancelModel(): Promise<void> {
    this.calls.model += 1;
    this.modelProgress = null;
    await studio.cancelOpen();
  }

  async openData(input: DatasetInput): Promise<void> {
    const { draft, model } = this;
    if (!draft || !model) return;
    const call = ++this.calls.data;
    const current = () => call === this.calls.data;
    if (input.kind !== 'stored') draft.format = null;
    this.dataFailure = null;
    this.dataProgress = { label: 'Reading', done: 0, total: 0, unit: 'rows' };
    try {
      const options = this.dataOptions();
      const report = proxy((progress: Progress) => {
        if (current() && this.dataProgress) this.dataProgress = progress;
      });
      const dataset = await studio.openDataset(input, model.id, options, report);
      if (!current()) return;
      draft.recipe.dataset.path = dataset.id;
      draft.datasetName = dataset.name;
      draft.updatedAt = Date.now();
      this.dataKey = JSON.stringify([dataset.id, model.id, this.dataOptions()]);
      this.dataset = dataset;
      void storage.load();
    } catch (thrown) {
      if (current()) this.dataFailure = toFailure(thrown);
    } finally {
      if (current()) this.dataProgress = null;
    }
  }

  /** Takes the data set out of the draft; it stays in the library. */
  dropData(): void {
    if (!this.draft) return;
    this.calls.data += 1;
    this.draft.recipe.dataset.path = '';
    this.draft.datasetName = '';
    this.draft.format = null;
    this.dataset = null;
    this.forecast = null;
    this.dataFailure = null;
  }

  applyPreset(preset: Preset): void {
    if (!this.draft) return;
    this.draft.preset = preset;
    // What the base is held in follows from the model and the GPU, not from how long one trains.
    const { quantize_base, lora } = this.draft.recipe;
    const start = adapters.get(lora?.init_adapter ?? '');
    this.draft.recipe = { ...applyPreset($state.snapshot(this.draft.recipe) as Recipe, preset, this.model?.contextLength), quantize_base };
    if (start) this.startFrom(start);
  }

  /** Trains on with an adapter, in its shape; null for a new one. */
  startFrom(adapter: AdapterSummary | null): void {
    const { draft } = this;
    if (!draft?.recipe.lora) return;
    if (adapter) draft.recipe.lora = followAdapter($state.snapshot(draft.recipe.lora) as NonNullable<Recipe['lora']>, adapter);
    else delete draft.recipe.lora.init_adapter;
  }

  /** How the rows are read, as the settings say. */
  dataOptions(): DatasetOptions {
    const { format, recipe } = this.draft!;
    return {
      ...(format && { format }),
      trainOn: recipe.dataset.train_on,
      maxLength: recipe.training.max_length,
      evalFraction: recipe.dataset.eval_fraction,
    };
  }

  /** The draft's recipe as the worker takes it. */
  recipe(): Recipe {
    const { recipe, format } = $state.snapshot(this.draft!) as Draft;
    return { ...recipe, dataset: { ...recipe.dataset, ...(format && { format }) } };
  }

  /** What still keeps this draft from starting; empty when it can. */
  get missing(): Missing[] {
    const { draft, model, dataset, forecast } = this;
    if (!draft) return [];
    const list: Missing[] = [];
    if (!model) list.push({ step: 'model', text: 'Choose a model' });
    else if (!model.hasTokenizer) list.push({ step: 'model', text: 'The model has no tokenizer' });
    const start = this.startComplaint();
    if (start) list.push({ step: 'model', text: start });
    if (!dataset) list.push({ step: 'data', text: 'Add data' });
    else if (dataset.tokens.trained === 0) {
      // Single rows that cannot be used are named and left out; only a set with nothing in it stops a run.
      list.push({ step: 'data', text: 'Nothing here would be learned: every reply is empty or cut off' });
    }
    if (model && dataset && forecast?.verdict === 'too big') list.push({ step: 'settings', text: 'Needs more memory than the budget' });
    if (this.forecastFailure && list.length === 0) list.push({ step: 'settings', text: this.forecastFailure.message });
    if (!device.canTrain) list.push({ step: 'train', text: 'This browser has no usable GPU' });
    return list;
  }

  /** What is wrong with the adapter to start from, in words; null where nothing is. */
  private startComplaint(): string | null {
    const lora = this.draft?.recipe.lora;
    if (!lora?.init_adapter || !this.model || !adapters.loaded) return null;
    const adapter = adapters.get(lora.init_adapter);
    return adapter ? disagreement(lora, adapter, this.model.projections) : 'The adapter to start from is not in this browser any more.';
  }

  private refreshDataLater(): (() => void) | void {
    const { model, dataset, draft } = this;
    if (!model || !dataset || !draft) return;
    const options = this.dataOptions();
    const key = JSON.stringify([dataset.id, model.id, options]);
    if (key === this.dataKey) return;
    const timer = setTimeout(() => void this.refreshData(dataset.id, model.id, options, key), 250);
    return () => clearTimeout(timer);
  }

  private async refreshData(id: string, modelId: string, options: DatasetOptions, key: string): Promise<void> {
    const call = ++this.calls.data;
    try {
      const dataset = await studio.datasetSummary(id, modelId, options);
      if (call !== this.calls.data) return;
      this.dataKey = key;
      this.dataset = dataset;
      this.dataFailure = null;
    } catch (thrown) {
      if (call !== this.calls.data) return;
      this.dataKey = key;
      this.dataFailure = toFailure(thrown);
    }
  }

  private refreshForecastLater(): (() => void) | void {
    if (!this.model || !this.dataset || !this.draft) return;
    const recipe = this.recipe();
    const budget = device.report?.budget;
    if (budget === undefined || this.draft.recipe.model !== this.model.id) return;
    const start = this.startComplaint();
    if (start) {
      this.calls.forecast += 1;
      this.forecastFailure = { message: `${start} Change the settings back, or choose what to start from under Model.`, details: start };
      return;
    }
    const timer = setTimeout(() => void this.refreshForecast(recipe), 60);
    return () => clearTimeout(timer);
  }

  private async refreshForecast(recipe: Recipe): Promise<void> {
    const call = ++this.calls.forecast;
    try {
      const forecast = await studio.forecast(recipe);
      if (call !== this.calls.forecast) return;
      this.forecast = forecast;
      this.forecastFailure = null;
      const { draft } = this;
      const limitless = recipe.training.max_steps === undefined;
      // The quick preset promises an end: a pass longer than its limit is cut short.
      if (draft?.preset === 'quick' && limitless && forecast.steps > QUICK_STEPS) draft.recipe.training.max_steps = QUICK_STEPS;
    } catch (thrown) {
      if (call === this.calls.forecast) this.forecastFailure = toFailure(thrown);
    }
  }

  /** The memory that this draft would need with one setting changed; null where it cannot be said. */
  async memoryWith(change: (recipe: Recipe) => void): Promise<number | null> {
    const recipe = this.recipe();
    change(recipe);
    try {
      return (await studio.forecast(recipe)).memory.total;
    } catch {
      // A what-if beside the real forecast: where it fails there is no suggestion, and the forecast itself says why.
      return null;
    }
  }
}

export const workspace = new Workspace();
