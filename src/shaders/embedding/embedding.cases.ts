import { caseRandom, integers, normals, type OpCase, type OpSuite } from '../suite';
import { embedding } from './embedding';
import { embeddingReference } from './embedding.reference';

interface EmbeddingCase extends OpCase {
  C: number;
}

/** Tokens, vocabulary, columns: with a small vocabulary ids repeat, which is where gradients add up. */
const sizes = [
  [1, 1, 1],
  [53, 7, 13],
  [129, 1000, 96],
  [66_000, 7, 2],
] as const;

export const embeddingSuite: OpSuite<EmbeddingCase> = {
  op: 'embedding',
  tolerance: 3e-5,
  reason: 'values are copied; a gradient sums up to 9,500 tokens of either sign one after the other, an error of about sqrt(9,500) * 2^-24 of the sum',
  cases: sizes.map(([M, V, C]) => {
    const random = caseRandom(M, V, C);
    return {
      name: `M=${M} V=${V} C=${C}`,
      dims: { M },
      C,
      inputs: {
        ids: { shape: ['M'], dtype: 'u32', values: integers(random, M, V) },
        weight: { shape: [V, C], values: normals(random, V * C), trained: true },
      },
    };
  }),
  record: (g, { ids, weight }) => embedding(g, ids!, weight!),
  reference: ({ ids, weight }, { C }) => embeddingReference(ids!, weight!, C),
};
