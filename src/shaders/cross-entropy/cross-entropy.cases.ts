import { caseRandom, normals, type OpCase, type OpSuite } from '../suite';
import { crossEntropy } from './cross-entropy';
import { crossEntropyReference } from './cross-entropy.reference';

interface CrossEntropyCase extends OpCase {
  softcap: number | null;
}

/** Rows, vocabulary, by how much the target's logit stands out (at 18 the loss is 1e-8 and less), and the soft cap. */
const sizes = [
  [1, 2, 0, null],
  [7, 13, 0, 30],
  [5, 1031, 3, null],
  [6, 997, 18, null],
  [6, 301, 4, 1.5],
  [2, 50_257, -4, null],
  [66_000, 3, 0, null],
] as const;

/** What the tests scale losses by; a power of two, so that no rounding hides behind it. */
const SCALE = 0.125;

export const crossEntropySuite: OpSuite<CrossEntropyCase> = {
  op: 'crossEntropy',
  tolerance: 1e-5,
  reason: 'exp and log of WGSL: up to 3 + 2|x| units in the last place with |x| about 20 before the sum',
  inPlace: true,
  cases: sizes.map(([R, V, lead, softcap]) => {
    const random = caseRandom(R, V);
    const logits = normals(random, R * V, 2);
    // Each fifth row is not trained on.
    const targets = Float64Array.from({ length: R }, (_, r) => (r % 5 === 4 ? -1 : random.below(V)));
    targets.forEach((target, r) => {
      if (target >= 0) logits[r * V + target] = Math.fround(logits[r * V + target]! + lead);
    });
    return {
      name: `R=${R} V=${V}, targets ahead by ${lead}${softcap ? ` under ${softcap}` : ''}`,
      dims: { R },
      softcap,
      inputs: {
        logits: { shape: ['R', V], values: logits, trained: true },
        targets: { shape: ['R'], dtype: 'i32', values: targets },
        scale: { shape: [1], values: Float64Array.of(SCALE) },
      },
    };
  }),
  record: (g, { logits, targets, scale }, { softcap }) => {
    const losses = g.tensor('losses', [logits!.shape[0]]);
    crossEntropy(g, logits!, targets!, scale!, losses, softcap);
    return losses;
  },
  reference: ({ logits, targets }, { softcap }) => crossEntropyReference(logits!, targets!, softcap),
  ownSeed: () => SCALE,
};
