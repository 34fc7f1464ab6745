import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { add } from './add';
import { addReference } from './add.reference';

const sizes = [
  [1, 1],
  [7, 13],
  [37, 6],
  [257, 64],
] as const;

export const addSuite: OpSuite<OpCase> = {
  op: 'add',
  tolerance: 1e-7,
  reason: 'one rounding to f32: 2^-24',
  cases: sizes.map(([M, C]) => {
    const random = caseRandom(M, C);
    const input = () => ({ shape: ['M', C] as const, values: normals(random, M * C), trained: true });
    return { name: `M=${M} C=${C}`, dims: { M }, inputs: { a: input(), b: input() } };
  }),
  record: (g, { a, b }) => add(g, a!, b!),
  reference: ({ a, b }) => addReference(a!, b!),
};
