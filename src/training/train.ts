import { RecipeError } from '../core/errors';
import type { Drift } from '../core/metrics';
import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import type { Gpu } from '../runtime/device';
import { uploadTrained } from '../models/weights';
import { evaluationBatches, type DataCursor } from '../data/batches';
import type { Checkpoint } from '../storage/checkpoints';
import { batching, dataPlan, milestones, stepCount } from './data-order';
import { measureDrift } from './drift';
import type { TrainingControl, TrainingEvent } from './events';
import type { Recipe } from './recipe';
import type { TrainingJob } from './job';
import { Run } from './run';
import { learningRate } from './schedule';
import { freshAdapter } from './starting-adapter';

export interface TrainingOutcome {
  step: number;
  totalSteps: number;
  /** False where it was stopped before its last step. */
  finished: boolean;
  best: { step: number; loss: number } | null;
}

/** Where a run stands between two steps: with the arrays on the GPU, all there is to it. */
interface Standing {
  step: number;
  cursor: DataCursor;
  best: { step: number; loss: number } | null;
  seconds: number;
}

/**
 * Trains, from the first step or from the last checkpoint, until the recipe's steps are done or `control`
 * stops it. A killed run resumed from its checkpoint gives the same losses bit for bit on the same device.
 */
export async function train(job: TrainingJob, gpu: Gpu, control: TrainingControl, on: (event: TrainingEvent) => void): Promise<TrainingOutcome> {
  const { recipe } = job;
  const plan = dataPlan(job.train, recipe);
  const totalSteps = stepCount(plan, recipe);
  const evalBatches = evaluationBatches(job.eval, batching(recipe)).filter(({ trained }) => trained > 0);
  const due = milestones(recipe, totalSteps);
  const onProgress: OnProgress = (progress) => on({ type: 'preparing', progress });
  const isFresh = !job.resume || (await job.checkpoints.list()).length === 0;
  if (job.original && isFresh) on({ type: 'drift', drift: await baseDrift(job, job.original, gpu, onProgress) });
  const run = await Run.open(job, gpu, onProgress);
  try {
    const at = await begin(job, run, gpu, on);
    const evaluate = async (): Promise<void> => {
      if (evalBatches.length === 0) return;
      const { loss } = await run.session.evaluate(evalBatches);
      const best = at.best === null || loss < at.best.loss;
      if (best) at.best = { step: at.step, loss };
      on({ type: 'eval', point: { step: at.step, loss, best } });
      if (best && at.step > 0) await save();
    };
    const sample = async (): Promise<void> => {
      for await (const point of run.samples(job, at.step)) on({ type: 'sample', point });
    };
    let savedStep = at.step;
    const save = async (): Promise<void> => {
      // A best evaluation may already have saved this step.
      if (savedStep === at.step) return;
      await job.checkpoints.save(await checkpoint(run, recipe, at));
      savedStep = at.step;
      on({ type: 'saved', step: at.step });
    };

    if (at.step === 0) {
      await evaluate();
      await sample();
    }
    const speed = new StepTimes();
    while (at.step < totalSteps) {
      await control.open();
      if (control.stopping) break;
      const begun = performance.now();
      const batches = plan.step(at.cursor);
      const rate = learningRate(recipe.training, at.step, totalSteps);
      const result = await run.session.step(batches, at.step, rate);
      const seconds = (performance.now() - begun) / 1000;
      Object.assign(at, { step: at.step + 1, cursor: plan.after(at.cursor), seconds: at.seconds + seconds });
      const count = (of: 'trained' | 'all'): number => batches.reduce((sum, b) => sum + (of === 'all' ? b.ids.length : b.trained), 0);
      on({
        type: 'step',
        point: {
          step: at.step,
          loss: result.loss,
          grad_norm: result.gradNorm,
          learning_rate: rate,
          tokens: count('trained'),
          tokens_per_second: count('all') / seconds,
          seconds: at.seconds,
          epoch: at.cursor.epoch + at.cursor.index / plan.stepsPerEpoch,
        },
        totalSteps,
        secondsLeft: speed.left(seconds, totalSteps - at.step),
        memory: gpu.memory.allocated,
      });
      const last = at.step === totalSteps;
      if (last || at.step % due.evaluate === 0) await evaluate();
      if (last || at.step % due.sample === 0) await sample();
      if (last || at.step % due.save === 0) await save();
    }
    if (control.stopping === 'keep') await save();
    return { step: at.step, totalSteps, finished: at.step === totalSteps, best: at.best };
  } finally {
    run.destroy();
  }
}

/** Of the held-out rows, or where there are none of those trained on. */
function baseDrift(job: TrainingJob, original: ModelSource, gpu: Gpu, onProgress: OnProgress): Promise<Drift> {
  const rows = job.eval.length > 0 ? job.eval : job.train;
  return measureDrift(gpu, { original, quantised: job.model }, rows, job.recipe.training.max_length, onProgress);
}

/** Loads the last checkpoint, or the weights a run begins with. */
async function begin(job: TrainingJob, run: Run, gpu: Gpu, on: (event: TrainingEvent) => void): Promise<Standing> {
  const loaded = job.resume ? await job.checkpoints.load('last') : null;
  if (loaded) {
    const { checkpoint } = loaded;
    run.session.parameters.restore(gpu, checkpoint.arrays as Record<string, Float32Array>);
    on({ type: 'resumed', step: checkpoint.step });
    return { step: checkpoint.step, cursor: checkpoint.cursor, best: checkpoint.best, seconds: checkpoint.seconds };
  }
  await job.checkpoints.deleteAll();
  const { lora, training } = job.recipe;
  const onProgress: OnProgress = (progress) => on({ type: 'preparing', progress });
  if (lora) await run.session.uploadAdapter(job.initialAdapter ?? freshAdapter(lora, job.model.config, training.seed));
  else await uploadTrained(gpu, job.model, run.session.parameters, onProgress);
  return { step: 0, cursor: { epoch: 0, index: 0 }, best: null, seconds: 0 };
}

async function checkpoint(run: Run, recipe: Recipe, at: Standing): Promise<Checkpoint> {
  return {
    version: 1,
    step: at.step,
    recipe,
    arrays: await run.save(),
    optimizerStep: at.step,
    // Order and dropout are functions of seed, epoch and step, so the seed is the whole random state.
    rng: [recipe.training.seed],
    cursor: at.cursor,
    metricsLength: at.step,
    best: at.best,
    seconds: at.seconds,
  };
}

/** Time left from the median of the last 20 steps; not known before five. */
class StepTimes {
  private readonly recent: number[] = [];

  left(seconds: number, steps: number): number | null {
    this.recent.push(seconds);
    if (this.recent.length > 20) this.recent.shift();
    if (this.recent.length < 5) return null;
    const sorted = [...this.recent].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)]! * steps;
  }
}

/** Refuses, before anything is taken, a recipe that this model cannot follow. */
export function checkRecipe(recipe: Recipe, model: ModelSource): void {
  if (recipe.lora === null && recipe.quantize_base !== 'none') {
    throw new RecipeError(`quantize_base is ${recipe.quantize_base} and lora is null, but weights that are all trained cannot be quantised; set one of the two otherwise.`);
  }
  const limit = model.config.max_position_embeddings;
  if (recipe.training.max_length > limit) {
    throw new RecipeError(
      `training.max_length is ${recipe.training.max_length} and ${model.name} was made for ${limit} tokens; choose ${limit} or less.`,
    );
  }
}
