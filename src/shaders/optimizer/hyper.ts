/** Where the optimizer's kernels find each number of a step. */
export const HYPER = {
  beta2: 0,
  oneMinusBeta1: 1,
  oneMinusBeta2: 2,
  epsilon: 3,
  /** 1 - lr * weight_decay */
  decay: 4,
  /** lr / (1 - beta1^t) */
  stepSize: 5,
  /** sqrt(1 - beta2^t) */
  correction2: 6,
  maxGradNorm: 7,
} as const;

/** Values of the hyperparameter tensor. */
export const HYPER_LENGTH = 16;

/** A recipe's optimizer settings, under Transformers' names. */
export interface OptimizerSettings {
  adam_beta1: number;
  adam_beta2: number;
  adam_epsilon: number;
  weight_decay: number;
  max_grad_norm: number;
}

/**
 * The f32 [16] that gradNorm and adamW read, for step t (counted from 1) at a learning rate. What depends on the step
 * is computed here in f64, as PyTorch does, and rounded once.
 */
export function packHyper(settings: OptimizerSettings, learningRate: number, t: number): Float32Array<ArrayBuffer> {
  const { adam_beta1, adam_beta2, adam_epsilon, weight_decay, max_grad_norm } = settings;
  const values = new Float32Array(HYPER_LENGTH);
  values[HYPER.beta2] = adam_beta2;
  values[HYPER.oneMinusBeta1] = 1 - adam_beta1;
  values[HYPER.oneMinusBeta2] = 1 - adam_beta2;
  values[HYPER.epsilon] = adam_epsilon;
  values[HYPER.decay] = 1 - learningRate * weight_decay;
  values[HYPER.stepSize] = learningRate / (1 - adam_beta1 ** t);
  values[HYPER.correction2] = Math.sqrt(1 - adam_beta2 ** t);
  values[HYPER.maxGradNorm] = max_grad_norm;
  return values;
}
