import type { AttentionShape } from '../attention/attention';
import { limitsName, type Limits } from '../attention/attention.cases';
import { attentionReference } from '../attention/attention.reference';
import { caseRandom, integers, normals, type OpCase, type OpSuite } from '../suite';
import { cachedAttention } from './cached-attention';

interface CachedCase extends OpCase {
  attention: AttentionShape;
}

/** H, K, D, new tokens, cache rows, and what differs from plain attention. */
const sizes: readonly (readonly [number, number, number, number, number, Limits?])[] = [
  [1, 1, 1, 1, 1],
  [9, 3, 64, 1, 331],
  [6, 2, 20, 13, 67],
  [2, 1, 7, 5, 129],
  [3, 3, 130, 2, 65],
  [4, 2, 8, 7, 200, { window: 70 }],
  [2, 1, 6, 3, 40, { window: 1 }],
  [6, 2, 20, 13, 67, { window: 11, softcap: 0.4 }],
  [65_537, 65_537, 2, 1, 3],
];

export const cachedAttentionSuite: OpSuite<CachedCase> = {
  op: 'cachedAttention',
  tolerance: 1e-5,
  reason: 'as attention: WGSL allows exp 3 + 2|x| units in the last place, then sums of up to 331 weights',
  cases: sizes.map(([heads, kvHeads, headDim, M, S, limits = {}]) => {
    const random = caseRandom(heads, headDim, M, S);
    const cache = () => ({ shape: [S, kvHeads * headDim] as const, values: normals(random, S * kvHeads * headDim) });
    return {
      name: `H=${heads} K=${kvHeads} D=${headDim} M=${M} S=${S}${limitsName(limits)}`,
      dims: { M },
      attention: { heads, kvHeads, headDim, scale: 1 / Math.sqrt(headDim), window: null, softcap: null, ...limits },
      inputs: {
        q: { shape: ['M', heads * headDim], values: normals(random, M * heads * headDim) },
        k: cache(),
        v: cache(),
        positions: { shape: ['M'], dtype: 'u32', values: integers(random, M, S).map((p, m) => (m === 0 ? S - 1 : p)) },
      },
    };
  }),
  record: (g, { q, k, v, positions }, c) => cachedAttention(g, q!, k!, v!, positions!, c.attention),
  reference: ({ q, k, v, positions }, c) =>
    attentionReference(q!, k!, v!, positions!.map(() => 0), positions!.map((p) => p + 1), c.attention),
};
