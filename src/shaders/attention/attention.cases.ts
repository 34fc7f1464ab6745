import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { attention, type AttentionShape } from './attention';
import { attentionReference } from './attention.reference';

export interface AttentionCase extends OpCase {
  attention: AttentionShape;
}

export type Limits = Partial<Pick<AttentionShape, 'window' | 'softcap'>>;

/** H, K, D, the lengths of the packed examples, and what differs from plain attention. */
const sizes: readonly (readonly [number, number, number, readonly number[], Limits?])[] = [
  [1, 1, 1, [1]],
  [3, 1, 7, [1, 2, 11, 5]],
  [6, 2, 20, [37, 1, 26]],
  [9, 3, 64, [70, 59]],
  [4, 4, 14, [131]],
  [2, 1, 128, [65, 3]],
  // Windows of less than a block, of just one example's length, and of a token; then over several workgroups.
  [3, 1, 7, [9, 40, 17, 3], { window: 5 }],
  [2, 2, 4, [40, 17, 16], { window: 17 }],
  [4, 1, 2, [1, 37], { window: 1 }],
  [4, 2, 14, [167, 40], { window: 50 }],
  // Most scores lie beyond the cap; then one as Gemma's.
  [6, 2, 20, [37, 1, 26], { softcap: 0.4 }],
  [4, 2, 8, [70, 5], { softcap: 50, window: 24 }],
  // More than 65,535 workgroups.
  [65_537, 65_537, 1, [1, 2]],
];

/** starts and ends of tokens that lie in examples of these lengths, one after the other. */
export function spansOf(lengths: readonly number[]): { starts: Float64Array; ends: Float64Array } {
  const starts: number[] = [];
  const ends: number[] = [];
  for (const length of lengths) {
    const first = starts.length;
    for (let i = 0; i < length; i++) {
      starts.push(first);
      ends.push(first + length);
    }
  }
  return { starts: Float64Array.from(starts), ends: Float64Array.from(ends) };
}

/** What a case's name says of them. */
export function limitsName({ window, softcap }: Limits): string {
  return `${window ? `, window ${window}` : ''}${softcap ? `, scores under ${softcap}` : ''}`;
}

export const attentionSuite: OpSuite<AttentionCase> = {
  op: 'attention',
  tolerance: 1e-5,
  reason: 'WGSL allows exp 3 + 2|x| units in the last place (scores lie within about 10 of their maximum), then sums of up to 131 weights',
  cases: sizes.map(([heads, kvHeads, headDim, lengths, limits = {}]) => {
    const random = caseRandom(heads, kvHeads, headDim);
    const { starts, ends } = spansOf(lengths);
    const M = starts.length;
    const input = (width: number) => ({ shape: ['M', width] as const, values: normals(random, M * width), trained: true });
    return {
      name: `H=${heads} K=${kvHeads} D=${headDim} M=${M} in ${lengths.length} examples${limitsName(limits)}`,
      dims: { M },
      attention: { heads, kvHeads, headDim, scale: 1 / Math.sqrt(headDim), window: null, softcap: null, ...limits },
      inputs: {
        q: input(heads * headDim),
        k: input(kvHeads * headDim),
        v: input(kvHeads * headDim),
        starts: { shape: ['M'], dtype: 'u32', values: starts },
        ends: { shape: ['M'], dtype: 'u32', values: ends },
      },
    };
  }),
  record: (g, { q, k, v, starts, ends }, c) => attention(g, q!, k!, v!, { starts: starts!, ends: ends! }, c.attention),
  reference: ({ q, k, v, starts }, c) => {
    const ends = starts!.map((_, m) => m + 1);
    return attentionReference(q!, k!, v!, starts!, ends, c.attention);
  },
};
