import { expect, it } from 'vitest';
import { crossEntropy } from '../../src/shaders/cross-entropy/cross-entropy';
import { crossEntropyReference } from '../../src/shaders/cross-entropy/cross-entropy.reference';
import { compareNumber } from './compare';
import { GuardedGraph, testGpu } from './guarded';

const V = 300;
/** By how much the target's logit stands out, from certain to hopeless. */
const LEADS = [60, 30, 18, 12, 6, 0, -40];

async function run(trained: boolean): Promise<{ losses: Float64Array; logits: Float64Array; given: Float64Array; targets: number[] }> {
  const given = Float64Array.from({ length: LEADS.length * V }, (_, i) => Math.fround(Math.sin(i)));
  const targets = LEADS.map((_, r) => (r * 41) % V);
  LEADS.forEach((lead, r) => (given[r * V + targets[r]!]! += lead));
  const rounded = given.map(Math.fround);
  const g = new GuardedGraph(await testGpu());
  const logits = g.guard('logits', [LEADS.length, V], 'f32', rounded);
  const losses = g.guard('losses', [LEADS.length], 'f32');
  if (trained) g.parameter(logits, g.guard('gradient', [LEADS.length, V], 'f32'));
  crossEntropy(g, logits, g.guard('targets', [LEADS.length], 'i32', targets), g.guard('scale', [1], 'f32', [0.5]), losses);
  await g.run();
  const result = { losses: await g.floats(losses), logits: await g.floats(logits), given: rounded, targets };
  g.destroy();
  return result;
}

it('keeps every digit of a loss far below the precision of 1', async () => {
  const { losses, given, targets } = await run(true);
  const expected = crossEntropyReference(given, Float64Array.from(targets));
  expect(expected[0]).toBeLessThan(1e-20);
  // exp of WGSL is good to 3 + 2|x| units in the last place, and |x| reaches 62.
  losses.forEach((loss, r) => expect(compareNumber(loss, expected[r]!, 1.6e-5, 0)).toBeNull());
});

it("keeps every digit of the target's own gradient", async () => {
  const { logits, given, targets } = await run(true);
  LEADS.forEach((_, r) => {
    const row = given.slice(r * V, (r + 1) * V);
    const target = targets[r]!;
    const others = row.reduce((sum, logit, j) => (j === target ? sum : sum + Math.exp(logit - row[target]!)), 0);
    expect(compareNumber(logits[r * V + target]!, (-0.5 * others) / (1 + others), 1.6e-5, 0)).toBeNull();
  });
});

it('leaves logits that need no gradient alone', async () => {
  const { logits, given } = await run(false);
  expect(logits).toEqual(given);
});
