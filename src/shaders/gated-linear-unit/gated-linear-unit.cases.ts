import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { gatedLinearUnit, type GatedActivation } from './gated-linear-unit';
import { gatedLinearUnitReference } from './gated-linear-unit.reference';

/** Rows, columns, and the gates' spread: at 100 an unguarded exponential or hyperbolic tangent overflows. */
const sizes = [
  [1, 1, 1],
  [5, 13, 1],
  [31, 6, 100],
  [129, 96, 3],
] as const;

export function gatedLinearUnitSuite(activation: GatedActivation): OpSuite<OpCase> {
  return {
    op: `gatedLinearUnit ${activation}`,
    tolerance: 2e-6,
    reason: 'WGSL allows exp an error of 3 + 2|x| units in the last place; about 10 such operations at 2^-24 otherwise',
    cases: sizes.map(([M, F, spread]) => {
      const random = caseRandom(M, F);
      const input = (scale: number) => ({ shape: ['M', F] as const, values: normals(random, M * F, scale), trained: true });
      return { name: `M=${M} F=${F}, gates of ${spread}`, dims: { M }, inputs: { gate: input(spread), up: input(1) } };
    }),
    record: (g, { gate, up }) => gatedLinearUnit(g, gate!, up!, activation),
    reference: ({ gate, up }) => gatedLinearUnitReference(gate!, up!, activation),
  };
}
