import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { softcap } from './softcap';
import { softcapReference } from './softcap.reference';

interface SoftcapCase extends OpCase {
  cap: number;
}

/** Rows, columns, the cap and the values' spread: from hardly capped to far beyond, where an unguarded tanh overflows. */
const sizes = [
  [1, 1, 30, 1],
  [5, 13, 30, 10],
  [33, 6, 0.5, 2],
  [70, 4, 1, 300],
] as const;

export const softcapSuite: OpSuite<SoftcapCase> = {
  op: 'softcap',
  tolerance: 2e-6,
  reason: 'WGSL allows exp 3 + 2|x| units in the last place, |x| up to 4 before tanh is 1 to 3 digits; about 8 roundings otherwise',
  inPlace: true,
  cases: sizes.map(([M, C, cap, spread]) => ({
    name: `M=${M} C=${C}, values of ${spread} under ${cap}`,
    dims: { M },
    cap,
    inputs: { x: { shape: ['M', C], values: normals(caseRandom(M, C), M * C, spread), trained: true } },
  })),
  record: (g, { x }, { cap }) => softcap(g, x!, cap),
  reference: ({ x }, { cap }) => softcapReference(x!, cap),
};
