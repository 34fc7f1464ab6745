import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { gatherRows } from './gather-rows';
import { gatherRowsReference } from './gather-rows.reference';

interface GatherCase extends OpCase {
  C: number;
}

/** Rows, rows taken, columns. */
const sizes = [
  [1, 1, 1],
  [31, 7, 13],
  [257, 101, 6],
  [64, 64, 96],
] as const;

export const gatherRowsSuite: OpSuite<GatherCase> = {
  op: 'gatherRows',
  tolerance: 0,
  reason: 'values are copied',
  cases: sizes.map(([M, R, C]) => {
    const random = caseRandom(M, R, C);
    const index = random.shuffle(Array.from({ length: M }, (_, m) => m)).slice(0, R);
    return {
      name: `M=${M} R=${R} C=${C}`,
      dims: { M, R },
      C,
      inputs: {
        x: { shape: ['M', C], values: normals(random, M * C), trained: true },
        index: { shape: ['R'], dtype: 'u32', values: Float64Array.from(index) },
      },
    };
  }),
  record: (g, { x, index }) => gatherRows(g, x!, index!),
  reference: ({ x, index }, { C }) => gatherRowsReference(x!, index!, C),
};
