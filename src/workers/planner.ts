import { RecipeError, StoppedError } from '../core/errors';
import type { Drift } from '../core/metrics';
import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import { trainedBase } from '../formats/quantized';
import { batching, dataPlan, stepCount } from '../training/data-order';
import { measureDrift } from '../training/drift';
import { arrange, type Prepared } from '../training/prepare';
import type { Recipe } from '../training/recipe';
import { Run } from '../training/run';
import type { RunStore } from '../storage/runs';
import type { Forecast } from './api';
import type { DatasetShelf } from './datasets';
import type { DeviceDesk } from './device-desk';
import type { ModelShelf, OpenModel } from './models';

/** Above this share of the budget a run is called tight. */
const TIGHT = 0.75;

/** A recipe with its model and rows at hand. */
export interface PreparedRun {
  recipe: Recipe;
  model: OpenModel;
  /** What lies on the GPU: the model, or its quantised form. */
  base: ModelSource;
  /** The model where `base` is its quantised form, else null. */
  original: ModelSource | null;
  prepared: Prepared;
}

/** What a recipe would do here: the rows it trains on, the memory it takes, the time it needs. */
export class Planner {
  /** All tokens a second, by model, as last measured on this device. */
  private readonly speeds = new Map<string, number | null>();
  /** Counts calls to stop measuring: a measurement that began before the count moved ends. */
  private stops = 0;

  constructor(
    private readonly models: ModelShelf,
    private readonly datasets: DatasetShelf,
    private readonly desk: DeviceDesk,
    private readonly runs: RunStore,
  ) {}

  /** Everything that training needs. Throws a HoneError where recipe, model and data do not fit together. */
  async prepare(recipe: Recipe, onProgress?: OnProgress): Promise<PreparedRun> {
    const model = await this.models.get(recipe.model);
    const { path, format } = recipe.dataset;
    const dataset = await this.datasets.dataset(path, format, onProgress);
    const tokenized = await this.datasets.tokenized(recipe, model, onProgress);
    const base = trainedBase(model.source, recipe.quantize_base);
    const original = base === model.source ? null : model.source;
    return { recipe, model, base, original, prepared: arrange(recipe, model.source, model.language, dataset, tokenized) };
  }

  /** Memory, steps and time of a run; takes no GPU memory. */
  async forecast({ recipe, model, base, prepared }: PreparedRun): Promise<Forecast> {
    const run = new Run({ recipe, model: base, ...prepared }, await this.desk.traits());
    const memory = run.forecast();
    const budget = await this.desk.budget();
    const plan = dataPlan(prepared.train, recipe);
    const steps = stepCount(plan, recipe);
    const { maxLength } = batching(recipe);
    const epochTokens = prepared.train.reduce((sum, { input_ids }) => sum + Math.min(input_ids.length, maxLength), 0);
    const tokensPerStep = epochTokens / plan.stepsPerEpoch;
    const speed = await this.speed(model.id);
    return {
      memory,
      budget,
      verdict: memory.total > budget ? 'too big' : memory.total > TIGHT * budget ? 'tight' : 'fits',
      steps,
      tokensPerStep,
      seconds: speed === null ? null : (steps * tokensPerStep) / speed,
      trainableParameters: run.session.parameters.count,
    };
  }

  /** How far the quantised base strays from the model on the recipe's rows. Throws a RecipeError where nothing is quantised, a StoppedError once stopped. */
  async measureDrift(recipe: Recipe, onProgress: OnProgress): Promise<Drift> {
    const { stops } = this;
    const goOn = (): void => {
      if (this.stops > stops) throw new StoppedError('The comparison was stopped; measure again when you like.');
    };
    const { base, original, prepared, model } = await this.prepare(recipe, onProgress);
    if (!original) {
      throw new RecipeError(`${model.summary.name} is trained over as it is, so nothing is lost; choose 8 or 4 bits for the base to measure what they cost.`);
    }
    const rows = prepared.eval.length > 0 ? prepared.eval : prepared.train;
    goOn();
    // Layers are reported one by one, each before it takes memory of its own.
    return measureDrift(await this.desk.lendToChat(), { original, quantised: base }, rows, recipe.training.max_length, (progress) => {
      goOn();
      onProgress(progress);
    });
  }

  /** Ends the measurements that go on, before their next layer. */
  stopMeasuring(): void {
    this.stops++;
  }

  /** Notes how fast a model trains here. */
  measured(modelId: string, tokensPerSecond: number): void {
    this.speeds.set(modelId, tokensPerSecond);
  }

  /** As measured in this session, else in the last run of the model that this browser keeps. */
  private async speed(modelId: string): Promise<number | null> {
    const known = this.speeds.get(modelId);
    if (known !== undefined) return known;
    const last = (await this.runs.list()).find((run) => run.modelId === modelId && run.step > 0);
    const { metrics } = last ? await this.runs.history(last.id) : { metrics: [] };
    const recent = metrics.slice(-20).map((point) => point.tokens_per_second).sort((a, b) => a - b);
    const speed = recent[Math.floor(recent.length / 2)] ?? null;
    this.speeds.set(modelId, speed);
    return speed;
  }
}
