/** cap * tanh(x / cap); x where there is no cap. */
export function softcapReference(x: Float64Array, cap: number | null): Float64Array {
  return cap === null ? x : x.map((value) => cap * Math.tanh(value / cap));
}
