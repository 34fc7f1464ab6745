import type { Graph } from '../../autograd/graph';
import { linearGrid, maxRows, rowLength, type Tensor } from '../../runtime/program';
import { groupGrid } from '../grid';
import groupSumSource from '../group-sum.wgsl?raw';
import sumPartialsSource from '../sum-partials.wgsl?raw';
import { targetBindings } from '../targets';
import { specializeVector, vectorWidth } from '../vector';
import backwardSource from './backward.wgsl?raw';
import forwardSource from './forward.wgsl?raw';
import weightPartialsSource from './weight-partials.wgsl?raw';

/** Runs of rows that are summed apart for the weight's gradient, then added in order. */
const CHUNKS = 32;

/**
 * x / sqrt(mean(x²) + eps) * (offset + weight) (Zhang & Sennrich 2019). x: [M, C], or [M, n * C]: then each stretch
 * of C values is normalised by itself, as for heads. weight: [C], trained or not; `offset` is 1 for Gemma, which stores it
 * less one.
 */
export function rmsNorm(g: Graph, x: Tensor, weight: Tensor, eps: number, offset = 0): Tensor {
  const length = rowLength(x.shape);
  const C = maxRows(weight.shape[0]) * rowLength(weight.shape);
  const parts = length / C;
  const width = vectorWidth(C);
  const rows = x.shape[0];
  const sizes = { VECTORS: C / width, PARTS: parts };
  const group = { ...sizes, GROUP: 64, ROOT: 8, C: { f32: C }, OFFSET: { f32: offset } };
  const out = g.tensor('normed', x.shape);
  const scales = g.tensor('1/rms', [rows, parts]);
  const forward = specializeVector('rms-norm', groupSumSource + forwardSource, width, { ...group, EPS: { f32: eps } });
  g.dispatch(forward, rows, groupGrid(parts), { read: [x, weight], write: [out, scales] }, 4 * length);
  g.record([x, weight], [out], () => {
    const dout = g.gradOf(out)!;
    g.accumulate(x, (dx) => {
      const kernel = specializeVector('rms-norm backward', groupSumSource + backwardSource, width, { ...group, ADD: dx.add });
      g.dispatch(kernel, rows, groupGrid(parts), { read: [x, weight, scales, dout], ...targetBindings(dx) }, 8 * length);
    });
    g.accumulate(weight, (dweight) => {
      const partials = g.tensor('d weight, partial', [CHUNKS, C]);
      const sum = specializeVector('rms-norm weight partials', weightPartialsSource, width, { ...sizes, CHUNKS });
      const grid = (count: number) => () => linearGrid(Math.ceil(count / 64));
      g.dispatch(sum, rows, grid((CHUNKS * C) / width), { read: [x, scales, dout], write: [partials] }, 3 * length);
      const finish = specializeVector('rms-norm weight sum', sumPartialsSource, width, { VECTORS: C / width, CHUNKS, ADD: dweight.add });
      g.dispatch(finish, rows, grid(C / width), { read: [partials], ...targetBindings(dweight) });
    });
  });
  return out;
}
