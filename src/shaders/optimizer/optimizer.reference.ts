import type { OptimizerSettings } from './hyper';

/** Parameters with their two moments. */
export interface AdamWState {
  parameter: Float64Array;
  expAvg: Float64Array;
  expAvgSq: Float64Array;
}

/** One step of torch.optim.AdamW in f64, in place, at step t counted from 1; `clip` multiplies the gradient. */
export function adamWReference(
  { parameter, expAvg, expAvgSq }: AdamWState,
  gradient: Float64Array,
  settings: OptimizerSettings,
  learningRate: number,
  t: number,
  clip: number,
): void {
  const { adam_beta1: b1, adam_beta2: b2, adam_epsilon, weight_decay } = settings;
  parameter.forEach((value, i) => {
    const d = gradient[i]! * clip;
    expAvg[i] = b1 * expAvg[i]! + (1 - b1) * d;
    expAvgSq[i] = b2 * expAvgSq[i]! + (1 - b2) * d * d;
    const mean = expAvg[i]! / (1 - b1 ** t);
    const spread = Math.sqrt(expAvgSq[i]! / (1 - b2 ** t)) + adam_epsilon;
    parameter[i] = value * (1 - learningRate * weight_decay) - (learningRate * mean) / spread;
  });
}

/** The global L2 norm of all values, and the factor that clips it to maxNorm as torch.nn.utils.clip_grad_norm_ does; 0 = no clipping. */
export function gradNormReference(gradients: readonly Float64Array[], maxNorm: number): { norm: number; clip: number } {
  const norm = Math.sqrt(gradients.reduce((sum, values) => sum + values.reduce((squares, value) => squares + value * value, 0), 0));
  return { norm, clip: maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1 };
}
