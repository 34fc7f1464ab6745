import { softcapReference } from '../softcap/softcap.reference';

/** -log softmax(logits[r])[targets[r]] of each row of V logits, capped softly where `softcap` says so; 0 where the target is negative. */
export function crossEntropyReference(logits: Float64Array, targets: Float64Array, softcap: number | null = null): Float64Array {
  const V = logits.length / targets.length;
  return targets.map((target, r) => {
    if (target < 0) return 0;
    const row = softcapReference(logits.subarray(r * V, (r + 1) * V), softcap);
    const others = row.reduce((sum, logit, j) => (j === target ? sum : sum + Math.exp(logit - row[target]!)), 0);
    return Math.log1p(others);
  });
}
