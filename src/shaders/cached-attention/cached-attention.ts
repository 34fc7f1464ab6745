import type { Graph } from '../../autograd/graph';
import { maxRows, type Tensor } from '../../runtime/program';
import type { AttentionShape } from '../attention/attention';
import { LOWEST_SCORE } from '../attention/attention';
import { groupGrid } from '../grid';
import groupMaxSource from '../group-max.wgsl?raw';
import groupSumSource from '../group-sum.wgsl?raw';
import { specializeVector, vectorWidth } from '../vector';
import source from './cached-attention.wgsl?raw';

const GROUP = { GROUP: 64, ROOT: 8 };

/**
 * Attention of new tokens to all that came before, for generation; forward only. q: [M, H * D]; kCache, vCache: [S, K * D];
 * query m sees cache rows 0..positions[m] (u32 [M]). Result [M, H * D].
 */
export function cachedAttention(g: Graph, q: Tensor, kCache: Tensor, vCache: Tensor, positions: Tensor, shape: AttentionShape): Tensor {
  const { heads: H, kvHeads: K, headDim: D } = shape;
  const width = vectorWidth(D);
  const S = maxRows(kCache.shape[0]);
  const rows = q.shape[0];
  const out = g.tensor('attended', q.shape);
  const kernel = specializeVector('cached attention', groupMaxSource + groupSumSource + source, width, {
    ...GROUP,
    H,
    K,
    D,
    S,
    SHARE: H / K,
    VECTORS: D / width,
    COLUMNS: Math.ceil(D / GROUP.GROUP),
    SCALE: { f32: shape.scale },
    LOWEST: LOWEST_SCORE,
  });
  g.dispatch(kernel, rows, groupGrid(H), { read: [q, kCache, vCache, positions], write: [out] }, 4 * H * D * S);
  return out;
}
