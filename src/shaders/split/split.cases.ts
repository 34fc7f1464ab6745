import { add } from '../add/add';
import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { split } from './split';
import { columnsReference } from './split.reference';

interface SplitCase extends OpCase {
  widths: readonly number[];
  /** Two parts of one width, whose sum is the result; what is left over gets no gradient. */
  used: readonly [number, number];
}

/** Rows, widths, parts that are added up. */
const sizes = [
  [5, [3, 3], [0, 1]],
  [37, [8, 4, 4], [1, 2]],
  [130, [2, 6, 1, 6], [3, 1]],
] as const;

export const splitSuite: OpSuite<SplitCase> = {
  op: 'split',
  tolerance: 1e-7,
  reason: 'values are copied; one rounding, 2^-24, where the parts are added up',
  cases: sizes.map(([M, widths, used]) => {
    const total = widths.reduce((a: number, b: number) => a + b, 0);
    return {
      name: `M=${M} into ${widths.join(' + ')}, parts ${used.join(' and ')} used`,
      dims: { M },
      widths,
      used,
      inputs: { x: { shape: ['M', total], values: normals(caseRandom(M, total), M * total), trained: true } },
    };
  }),
  record: (g, { x }, { widths, used: [a, b] }) => {
    const parts = split(g, x!, widths);
    return add(g, parts[a]!, parts[b]!);
  },
  reference: ({ x }, { widths, used }) => {
    const total = widths.reduce((a, b) => a + b, 0);
    const [a, b] = used.map((part) => columnsReference(x!, total, widths.slice(0, part).reduce((s, w) => s + w, 0), widths[part]!));
    return a!.map((value, i) => value + b![i]!);
  },
};
