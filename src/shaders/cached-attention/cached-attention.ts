import type { Graph } from '../../autograd/graph';
import { maxRows, type Tensor } from '../../runtime/program';
import type { AttentionShape } from '../attention/attention';
import { ATTENTION_SOURCE, attentionConstants, LOWEST_SCORE } from '../attention/attention';
import { groupGrid } from '../grid';
import groupMaxSource from '../group-max.wgsl?raw';
import groupSumSource from '../group-sum.wgsl?raw';
import { specializeVector, vectorWidth } from '../vector';
import source from './cached-attention.wgsl?raw';

const GROUP = { GROUP: 64, ROOT: 8 };

/**
 * Attention of new tokens to all that came before, for generation; forward only. q: [M, H * D]; kCache, vCache: [S, K * D];
 * query m sees cache rows 0..positions[m] (u32 [M]), or the last `window` of them. Result [M, H * D].
 */
export function cachedAttention(g: Graph, q: Tensor, kCache: Tensor, vCache: Tensor, positions: Tensor, shape: AttentionShape): Tensor {
  const { heads: H, headDim: D } = shape;
  const width = vectorWidth(D);
  const S = maxRows(kCache.shape[0]);
  const rows = q.shape[0];
  const out = g.tensor('attended', q.shape);
  const kernel = specializeVector('cached attention', ATTENTION_SOURCE + groupMaxSource + groupSumSource + source, width, {
    ...GROUP,
    ...attentionConstants(shape),
    D,
    S,
    VECTORS: D / width,
    COLUMNS: Math.ceil(D / GROUP.GROUP),
    LOWEST: LOWEST_SCORE,
  });
  const flops = 4 * H * D * Math.min(S, shape.window ?? S);
  g.dispatch(kernel, rows, groupGrid(H), { read: [q, kCache, vCache, positions], write: [out] }, flops);
  return out;
}
