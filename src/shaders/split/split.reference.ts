/** Columns first..first + width - 1 of x, rows of `total` values. */
export function columnsReference(x: Float64Array, total: number, first: number, width: number): Float64Array {
  return Float64Array.from({ length: (x.length / total) * width }, (_, i) => x[Math.floor(i / width) * total + first + (i % width)]!);
}
