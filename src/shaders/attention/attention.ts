import type { Graph } from '../../autograd/graph';
import { linearGrid, maxRows, type Kernel, type Tensor } from '../../runtime/program';
import { threadGrid } from '../grid';
import { SOFTCAPPED, softcapConstants } from '../softcap/softcapped';
import { accumulateAll, targetBindings } from '../targets';
import { specializeVector, vectorWidth } from '../vector';
import forwardSource from './forward.wgsl?raw';
import keyGradientSource from './key-gradient.wgsl?raw';
import queryGradientSource from './query-gradient.wgsl?raw';
import { spreadRows } from './spread';
import statisticsSource from './statistics.wgsl?raw';
import windowSource from './window.wgsl?raw';

/** H query heads share K key/value heads (H a multiple of K), each of D values; scores are multiplied by `scale`. */
export interface AttentionShape {
  heads: number;
  kvHeads: number;
  headDim: number;
  scale: number;
  /** Tokens that a token sees at most, itself among them; null: all before it. */
  window: number | null;
  /** Scores become softcap * tanh(score / softcap) before the softmax (Gemma 2); null: they stay. */
  softcap: number | null;
}

/** WGSL that the attention kernels share, for `attentionConstants`. */
export const ATTENTION_SOURCE = windowSource + SOFTCAPPED;

/** The kernels' constants of a shape that do not depend on how they are written. */
export function attentionConstants({ heads: H, kvHeads: K, scale, window, softcap }: AttentionShape) {
  return { H, K, SHARE: H / K, SCALE: { f32: scale }, WINDOW: window ?? 2 ** 32 - 1, ...softcapConstants(softcap) };
}

/** Which tokens see which, u32 [M] each: m sees starts[m]..m, n is seen by n..ends[n]-1. Both never decrease. */
export interface Spans {
  starts: Tensor;
  ends: Tensor;
}

/** Below every score, and finite: what is masked is compared with it, never added. */
export const LOWEST_SCORE = { f32: -1e30 };

/**
 * Causal attention within packed examples. q: [M, H * D]; k, v: [M, K * D]; result [M, H * D].
 * The forward pass keeps the log of each softmax's sum; the backward pass computes the weights again from it, in one kernel
 * for dq and one for dk and dv (Dao et al. 2022, "FlashAttention"), so that nothing is added by two threads.
 */
export function attention(g: Graph, q: Tensor, k: Tensor, v: Tensor, spans: Spans, shape: AttentionShape): Tensor {
  const { heads: H, kvHeads: K, headDim: D } = shape;
  const width = vectorWidth(D);
  const share = H / K;
  const rows = q.shape[0];
  const sizes = { ...attentionConstants(shape), VECTORS: D / width };
  const queryGrid = (count: number): [number, number, number] => linearGrid(Math.ceil((count * share) / 64) * K);
  const keyGrid = (count: number): [number, number, number] => linearGrid(Math.ceil(count / 64) * K);
  // For pacing: one example as long as the micro-batch, of which a token sees half, or its window.
  const seen = Math.min(maxRows(rows) / 2, shape.window ?? Infinity);
  const pairs = (work: number): number => work * H * D * seen;
  const out = g.tensor('attended', q.shape);
  const lse = g.tensor('lse', [rows, H]);
  const kernel = (name: string, source: string, constants: Record<string, boolean | typeof LOWEST_SCORE>): Kernel => {
    const spread = spreadRows(g.traits, ATTENTION_SOURCE + source);
    return specializeVector(name, spread.source, width, { ...sizes, ...spread.sizes, ...constants });
  };
  const forward = kernel('attention', forwardSource, { LOWEST: LOWEST_SCORE });
  g.dispatch(forward, rows, queryGrid, { read: [q, k, v, spans.starts], write: [out, lse] }, pairs(4));
  g.record([q, k, v], [out], () => {
    const dout = g.gradOf(out)!;
    const statistics = g.tensor('lse, delta', [rows, H, 2]);
    const gather = specializeVector('attention statistics', statisticsSource, width, { H, VECTORS: D / width });
    g.dispatch(gather, rows, threadGrid(H), { read: [out, dout, lse], write: [statistics] }, 2 * H * D);
    g.accumulate(q, (dq) => {
      const gradient = kernel('attention dq', queryGradientSource, { ADD: dq.add });
      g.dispatch(gradient, rows, queryGrid, { read: [q, k, v, spans.starts, dout, statistics], ...targetBindings(dq) }, pairs(6));
    });
    accumulateAll(g, [k, v], ([dk, dv]) => {
      const gradient = kernel('attention dk dv', keyGradientSource, { ADD_K: dk!.add, ADD_V: dv!.add });
      g.dispatch(gradient, rows, keyGrid, { read: [q, k, v, spans.ends, dout, statistics], ...targetBindings(dk!, dv!) }, pairs(8));
    });
  });
  return out;
}
