/** x + b in every row of b.length values. */
export function biasReference(x: Float64Array, b: Float64Array): Float64Array {
  return x.map((value, i) => value + b[i % b.length]!);
}
