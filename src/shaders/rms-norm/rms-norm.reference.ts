/** x / sqrt(mean(x²) + eps) * (offset + weight) over each stretch of weight.length values. */
export function rmsNormReference(x: Float64Array, weight: Float64Array, eps: number, offset: number): Float64Array {
  const C = weight.length;
  const out = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += C) {
    let squares = 0;
    for (let i = 0; i < C; i++) squares += x[first + i]! ** 2;
    const r = 1 / Math.sqrt(squares / C + eps);
    for (let i = 0; i < C; i++) out[first + i] = x[first + i]! * r * (offset + weight[i]!);
  }
  return out;
}
