import type { Graph } from '../../autograd/graph';
import type { Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { specializeVector, vectorWidth } from '../vector';
import source from './adamw.wgsl?raw';
import { flat } from './flat';
import { HYPER } from './hyper';

/** One stretch of parameters with what belongs to them, all f32 [n]. */
export interface OptimizerBank {
  parameter: Tensor;
  gradient: Tensor;
  expAvg: Tensor;
  expAvgSq: Tensor;
}

/** One AdamW step in place, as torch.optim.AdamW. hyper: packHyper's f32 [16]; state: what gradNorm wrote. */
export function adamW(g: Graph, bank: OptimizerBank, hyper: Tensor, state: Tensor): void {
  const { length } = flat(bank.parameter);
  const width = vectorWidth(length);
  const kernel = specializeVector('adamw', source, width, {
    VECTORS: length / width,
    BETA2: HYPER.beta2,
    ONE_MINUS_BETA1: HYPER.oneMinusBeta1,
    ONE_MINUS_BETA2: HYPER.oneMinusBeta2,
    EPSILON: HYPER.epsilon,
    DECAY: HYPER.decay,
    STEP_SIZE: HYPER.stepSize,
    CORRECTION2: HYPER.correction2,
  });
  const bindings = { read: [bank.gradient, hyper, state], update: [bank.parameter, bank.expAvg, bank.expAvgSq] };
  g.dispatch(kernel, 1, threadGrid(length / width), bindings, 15 * length);
}
