import type { Example } from '../core/example';
import { epochPlan, type EpochPlan } from '../data/batches';
import type { Recipe } from './recipe';

/** The data's order under a recipe, the same for every run of it. */
export function dataPlan(examples: readonly Example[], recipe: Recipe): EpochPlan {
  return epochPlan(examples, batching(recipe));
}

/** How a recipe groups rows, in the words of the data's own plan. */
export function batching({ training, dataset }: Recipe): Parameters<typeof epochPlan>[1] {
  return {
    batch: training.per_device_train_batch_size,
    accumulation: training.gradient_accumulation_steps,
    packing: training.packing,
    shuffle: dataset.shuffle,
    seed: training.seed,
    maxLength: training.max_length,
  };
}

/** Optimizer steps of a run. */
export function stepCount(plan: EpochPlan, recipe: Recipe): number {
  return recipe.training.max_steps ?? Math.max(1, Math.ceil(plan.stepsPerEpoch * recipe.training.num_train_epochs));
}

/** Every how many steps to evaluate, sample and save: a tenth of the run where the recipe leaves it open. */
export function milestones(recipe: Recipe, totalSteps: number): { evaluate: number; sample: number; save: number } {
  const { eval_steps, sample_steps, save_steps } = recipe.training;
  const evaluate = eval_steps ?? Math.max(1, Math.round(totalSteps / 10));
  return { evaluate, sample: sample_steps ?? evaluate, save: save_steps };
}
