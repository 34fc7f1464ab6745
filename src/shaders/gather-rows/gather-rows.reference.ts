/** Rows `index` of x, each of C values. */
export function gatherRowsReference(x: Float64Array, index: Float64Array, C: number): Float64Array {
  const out = new Float64Array(index.length * C);
  index.forEach((row, r) => out.set(x.subarray(row * C, (row + 1) * C), r * C));
  return out;
}
