import type { Graph } from '../../autograd/graph';
import { specialize, type Tensor } from '../../runtime/program';
import groupSumSource from '../group-sum.wgsl?raw';
import clipFactorSource from './clip-factor.wgsl?raw';
import { flat } from './flat';
import { HYPER } from './hyper';
import squareSumsSource from './square-sums.wgsl?raw';

/** Workgroups that one bank is cut into at most. */
const MAX_GROUPS = 256;
const GROUP = { GROUP: 256, ROOT: 16 };

/**
 * The global L2 norm of all gradients (flat f32 banks [n]), as torch.nn.utils.clip_grad_norm_ takes it.
 * hyper: packHyper's f32 [16]. state, f32 [8], gets [0] the norm, [1] the factor that clips to max_grad_norm,
 * [2] 1 where a gradient is not finite, else 0.
 */
export function gradNorm(g: Graph, gradients: readonly Tensor[], hyper: Tensor, state: Tensor): void {
  const lengths = gradients.map((gradient) => flat(gradient).length);
  const groups = lengths.map((length) => Math.min(Math.ceil(length / (4 * GROUP.GROUP)), MAX_GROUPS));
  const count = groups.reduce((sum, n) => sum + n, 0);
  const partials = g.tensor('square sums', [count, 2]);
  let first = 0;
  gradients.forEach((gradient, i) => {
    const constants = { ...GROUP, LENGTH: lengths[i]!, GROUPS: groups[i]!, FIRST: first };
    const kernel = specialize('gradient squares', groupSumSource + squareSumsSource, constants);
    const bindings = i === 0 ? { read: [gradient], write: [partials] } : { read: [gradient], update: [partials] };
    g.dispatch(kernel, 1, () => [groups[i]!, 1, 1], bindings, 2 * lengths[i]!);
    first += groups[i]!;
  });
  const constants = { ...GROUP, COUNT: count, MAX_GRAD_NORM: HYPER.maxGradNorm };
  const finish = specialize('gradient norm', groupSumSource + clipFactorSource, constants);
  g.dispatch(finish, 1, () => [1, 1, 1], { read: [partials, hyper], write: [state] }, 2 * count);
}
