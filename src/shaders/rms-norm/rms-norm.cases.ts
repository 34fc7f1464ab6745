import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { rmsNorm } from './rms-norm';
import { rmsNormReference } from './rms-norm.reference';

interface RmsNormCase extends OpCase {
  offset: number;
}

/** Rows, normalised stretches a row, values of a stretch, what is added to the weight. */
const sizes = [
  [1, 1, 2, 0],
  [7, 1, 13, 1],
  [37, 1, 576, 0],
  [5, 3, 20, 1],
  [3, 1, 2051, 0],
  [66_000, 1, 6, 0],
] as const;

const EPS = 1e-5;

export const rmsNormSuite: OpSuite<RmsNormCase> = {
  op: 'rmsNorm',
  tolerance: 3e-6,
  reason: 'sums of up to 2,051 squares in 64 lanes (33 roundings of 2^-24 in a row) and inverseSqrt, good to 2 units in the last place',
  cases: sizes.map(([M, parts, C, offset]) => {
    const random = caseRandom(M, parts, C);
    return {
      name: `M=${M} C=${C}${parts > 1 ? ` in ${parts} parts` : ''}, ${offset} + weight`,
      dims: { M },
      offset,
      inputs: {
        x: { shape: ['M', parts * C], values: normals(random, M * parts * C, 2), trained: true },
        weight: { shape: [C], values: normals(random, C), trained: true },
      },
    };
  }),
  record: (g, { x, weight }, { offset }) => rmsNorm(g, x!, weight!, EPS, offset),
  reference: ({ x, weight }, { offset }) => rmsNormReference(x!, weight!, EPS, offset),
};
