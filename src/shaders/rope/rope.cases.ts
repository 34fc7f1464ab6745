import { caseRandom, integers, normals, type OpCase, type OpSuite } from '../suite';
import { rope } from './rope';
import { ropeReference } from './rope.reference';

interface RopeCase extends OpCase {
  headDim: number;
  rotary: number;
}

/** Tokens, heads, head size, values of it that turn, positions. */
const sizes = [
  [1, 1, 2, 2, 1],
  [11, 3, 14, 14, 50],
  [29, 2, 20, 20, 7],
  [67, 9, 64, 64, 131],
  [13, 2, 16, 8, 17],
] as const;

function table(positions: number, rotary: number): Float64Array {
  const half = rotary / 2;
  return Float64Array.from({ length: positions * rotary }, (_, i) => {
    const column = i % rotary;
    const angle = Math.floor(i / rotary) * 10000 ** (-(column % half) / half);
    return Math.fround(column < half ? Math.cos(angle) : Math.sin(angle));
  });
}

export const ropeSuite: OpSuite<RopeCase> = {
  op: 'rope',
  tolerance: 5e-7,
  reason: 'two products and a sum of f32, each rounded by 2^-24 of terms as large as the tensor',
  inPlace: true,
  cases: sizes.map(([M, heads, headDim, rotary, P]) => {
    const random = caseRandom(M, heads, headDim);
    return {
      name: `M=${M} heads=${heads} D=${headDim}, ${rotary} turn`,
      dims: { M },
      headDim,
      rotary,
      inputs: {
        x: { shape: ['M', heads * headDim], values: normals(random, M * heads * headDim), trained: true },
        positions: { shape: ['M'], dtype: 'u32', values: integers(random, M, P) },
        table: { shape: [P, rotary], values: table(P, rotary) },
      },
    };
  }),
  record: (g, { x, positions, table: angles }, { headDim }) => rope(g, x!, positions!, angles!, headDim),
  reference: ({ x, positions, table: angles }, { headDim, rotary }) => ropeReference(x!, positions!, angles!, headDim, rotary),
};
