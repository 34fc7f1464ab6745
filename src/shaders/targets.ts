import type { Graph, GradTarget } from '../autograd/graph';
import type { Tensor } from '../runtime/program';

/**
 * For backward kernels that write several gradients at once: where each goes. A tensor that needs none gets
 * scratch that nothing reads. `emit` is not called where none of them needs a gradient.
 */
export function accumulateAll(g: Graph, tensors: readonly Tensor[], emit: (targets: GradTarget[]) => void): void {
  if (!tensors.some((tensor) => g.needsGrad(tensor))) return;
  const targets = tensors.map((tensor): GradTarget => {
    let target: GradTarget = { tensor: g.tensor(`unused d ${tensor.name}`, tensor.shape), add: false };
    g.accumulate(tensor, (given) => (target = given));
    return target;
  });
  emit(targets);
}

/** The targets as a dispatch's last bindings, in the order given: all `update` where one of them is added to. */
export function targetBindings(...targets: readonly GradTarget[]): { update: Tensor[] } | { write: Tensor[] } {
  const tensors = targets.map(({ tensor }) => tensor);
  return targets.some(({ add }) => add) ? { update: tensors } : { write: tensors };
}
