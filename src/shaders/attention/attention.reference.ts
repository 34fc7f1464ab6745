import type { AttentionShape } from './attention';

/**
 * Token m's query heads attend to tokens starts[m]..m: out = sum of softmax(scale * q . k) * v, where H / K neighbouring
 * query heads share a key/value head. q: [M, H * D]; k, v: [N, K * D]; `ends[m]` is the first token m does not see.
 */
export function attentionReference(
  q: Float64Array,
  k: Float64Array,
  v: Float64Array,
  starts: Float64Array,
  ends: Float64Array,
  { heads: H, kvHeads: K, headDim: D, scale }: AttentionShape,
): Float64Array {
  const out = new Float64Array(q.length);
  for (let m = 0; m < starts.length; m++) {
    for (let h = 0; h < H; h++) {
      const query = (m * H + h) * D;
      const head = Math.floor(h / (H / K)) * D;
      const scores: number[] = [];
      for (let n = starts[m]!; n < ends[m]!; n++) {
        let dot = 0;
        for (let d = 0; d < D; d++) dot += q[query + d]! * k[n * K * D + head + d]!;
        scores.push(scale * dot);
      }
      const largest = scores.reduce((a, b) => Math.max(a, b));
      const weights = scores.map((score) => Math.exp(score - largest));
      const sum = weights.reduce((a, b) => a + b);
      weights.forEach((weight, i) => {
        const n = starts[m]! + i;
        for (let d = 0; d < D; d++) out[query + d]! += (weight / sum) * v[n * K * D + head + d]!;
      });
    }
  }
  return out;
}
