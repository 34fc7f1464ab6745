import { softcapReference } from '../softcap/softcap.reference';
import type { AttentionShape } from './attention';

/**
 * Token m's query heads attend to the tokens from starts[m] to before ends[m], or to the last `window` of them:
 * out = sum of softmax(scale * q . k) * v, with softly capped scores where the shape says so; H / K neighbouring query heads
 * share a key/value head. q: [M, H * D]; k, v: [N, K * D].
 */
export function attentionReference(
  q: Float64Array,
  k: Float64Array,
  v: Float64Array,
  starts: Float64Array,
  ends: Float64Array,
  { heads: H, kvHeads: K, headDim: D, scale, window, softcap }: AttentionShape,
): Float64Array {
  const out = new Float64Array(q.length);
  for (let m = 0; m < starts.length; m++) {
    const first = Math.max(starts[m]!, ends[m]! - (window ?? Infinity));
    for (let h = 0; h < H; h++) {
      const query = (m * H + h) * D;
      const head = Math.floor(h / (H / K)) * D;
      const dots = Float64Array.from({ length: ends[m]! - first }, (_, i) => {
        let dot = 0;
        for (let d = 0; d < D; d++) dot += q[query + d]! * k[(first + i) * K * D + head + d]!;
        return scale * dot;
      });
      const scores = softcapReference(dots, softcap);
      const largest = scores.reduce((a, b) => Math.max(a, b));
      const weights = scores.map((score) => Math.exp(score - largest));
      const sum = weights.reduce((a, b) => a + b);
      weights.forEach((weight, i) => {
        const n = first + i;
        for (let d = 0; d < D; d++) out[query + d]! += (weight / sum) * v[n * K * D + head + d]!;
      });
    }
  }
  return out;
}
