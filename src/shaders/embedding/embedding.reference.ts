/** Rows `ids` of weight, each of C values. */
export function embeddingReference(ids: Float64Array, weight: Float64Array, C: number): Float64Array {
  const out = new Float64Array(ids.length * C);
  ids.forEach((id, m) => out.set(weight.subarray(id * C, (id + 1) * C), m * C));
  return out;
}
