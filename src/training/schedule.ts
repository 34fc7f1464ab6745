import type { Recipe } from './recipe';

/**
 * The learning rate of a step (counted from 0), as transformers' get_{constant,linear,cosine}_schedule_with_warmup:
 * rises linearly over the warm-up (the first step of a warm-up has rate 0), then stays, falls linearly, or
 * follows half a cosine to zero at `totalSteps`.
 */
export function learningRate(training: Recipe['training'], step: number, totalSteps: number): number {
  const { learning_rate, lr_scheduler_type } = training;
  const warmup = lr_scheduler_type === 'constant' ? 0 : warmupSteps(training, totalSteps);
  if (step < warmup) return learning_rate * (step / Math.max(1, warmup));
  if (lr_scheduler_type === 'constant' || lr_scheduler_type === 'constant_with_warmup') return learning_rate;
  const rest = Math.max(1, totalSteps - warmup);
  const progress = (step - warmup) / rest;
  if (lr_scheduler_type === 'linear') return learning_rate * Math.max(0, 1 - progress);
  return learning_rate * Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
}

/** Warm-up steps: given, or the ratio of all steps rounded up as transformers does. */
export function warmupSteps(training: Recipe['training'], totalSteps: number): number {
  return training.warmup_steps ?? Math.ceil(training.warmup_ratio * totalSteps);
}
