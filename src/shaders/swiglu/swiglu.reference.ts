/** silu(gate) * up, silu(x) = x / (1 + exp(-x)). */
export function swiGluReference(gate: Float64Array, up: Float64Array): Float64Array {
  return gate.map((x, i) => (x / (1 + Math.exp(-x))) * up[i]!);
}
