import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { scale } from './scale';
import { scaleReference } from './scale.reference';

interface ScaleCase extends OpCase {
  factor: number;
}

/** Rows, columns; the factor is the root of the columns, as for embeddings. */
const sizes = [
  [1, 3],
  [7, 13],
  [37, 6],
  [130, 64],
] as const;

export const scaleSuite: OpSuite<ScaleCase> = {
  op: 'scale',
  tolerance: 2e-7,
  reason: 'two roundings to f32, of the factor and of the product: 2^-24 each',
  cases: sizes.map(([M, C]) => ({
    name: `M=${M} C=${C}`,
    dims: { M },
    factor: Math.sqrt(C),
    inputs: { x: { shape: ['M', C], values: normals(caseRandom(M, C), M * C), trained: true } },
  })),
  record: (g, { x }, { factor }) => scale(g, x!, factor),
  reference: ({ x }, { factor }) => scaleReference(x!, factor),
};
