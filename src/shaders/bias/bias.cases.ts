import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { bias } from './bias';
import { biasReference } from './bias.reference';

/** Rows, columns. */
const sizes = [
  [1, 1],
  [7, 13],
  [37, 6],
  [259, 68],
] as const;

export const biasSuite: OpSuite<OpCase> = {
  op: 'bias',
  tolerance: 2e-6,
  reason: 'one rounding of the sum; the gradient adds up to 9 rows in a row, then 32 partial sums: about 40 roundings of 2^-24 at most',
  inPlace: true,
  cases: sizes.map(([M, N]) => {
    const random = caseRandom(M, N);
    return {
      name: `M=${M} N=${N}`,
      dims: { M },
      inputs: {
        x: { shape: ['M', N], values: normals(random, M * N), trained: true },
        b: { shape: [N], values: normals(random, N), trained: true },
      },
    };
  }),
  record: (g, { x, b }) => bias(g, x!, b!),
  reference: ({ x, b }) => biasReference(x!, b!),
};
