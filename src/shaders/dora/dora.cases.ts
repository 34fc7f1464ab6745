import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { scaleRows } from './dora';
import { scaleRowsReference } from './dora.reference';

/** Tokens, rows of the weight. */
const sizes = [
  [1, 2],
  [7, 13],
  [70, 36],
  [300, 6],
] as const;

export const scaleRowsSuite: OpSuite<OpCase> = {
  op: 'scaleRows',
  tolerance: 2e-6,
  reason: 'a division good to 2.5 units in the last place and a product; the magnitude: sums of up to 10 products in 32 runs',
  cases: sizes.map(([M, N]) => {
    const random = caseRandom(M, N);
    return {
      name: `M=${M} N=${N}`,
      dims: { M },
      inputs: {
        x: { shape: ['M', N], values: normals(random, M * N), trained: true },
        magnitude: { shape: [N], values: normals(random, N).map((x) => 2 + Math.abs(x)), trained: true },
        norm: { shape: [N], values: normals(random, N).map((x) => 2 + Math.abs(x)) },
      },
    };
  }),
  record: (g, { x, magnitude, norm }) => scaleRows(g, x!, { magnitude: magnitude!, norm: norm! }),
  reference: ({ x, magnitude, norm }) => scaleRowsReference(x!, magnitude!, norm!),
};
