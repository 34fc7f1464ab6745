import { caseRandom, integers, normals, type OpCase, type OpSuite } from '../suite';
import { dropout, dropped } from './dropout';
import { dropoutReference } from './dropout.reference';

interface DropoutCase extends OpCase {
  salt: number;
  p: number;
}

/** Rows, columns, salt, share dropped. */
const sizes = [
  [3, 5, 0, 0.5],
  [37, 13, 209, 0.05],
  [129, 64, 7, 0.9],
] as const;

export const dropoutSuite: OpSuite<DropoutCase> = {
  op: 'dropout',
  tolerance: 2e-7,
  reason: 'one product with a rounded 1 / (1 - p): two roundings of 2^-24; what is dropped is decided in whole numbers',
  cases: sizes.map(([M, C, salt, p]) => {
    const random = caseRandom(M, C, salt);
    return {
      name: `M=${M} C=${C} salt=${salt} p=${p}`,
      dims: { M },
      salt,
      p,
      inputs: {
        x: { shape: ['M', C], values: normals(random, M * C), trained: true },
        key: { shape: [4], dtype: 'u32', values: integers(random, 4, 2 ** 32) },
      },
    };
  }),
  record: (g, { x, key }, { salt, p }) => dropout(g, x!, key!, salt, p),
  reference: ({ x, key }, { salt, p }) => dropoutReference(x!, key!, salt, p),
};

/** What dropout takes away, on the same cases. */
export const droppedSuite: OpSuite<DropoutCase> = {
  ...dropoutSuite,
  op: 'dropped',
  record: (g, { x, key }, { salt, p }) => dropped(g, x!, key!, salt, p),
  reference: ({ x, key }, { salt, p }) => dropoutReference(x!, key!, salt, p).map((kept, i) => x![i]! - kept),
};
