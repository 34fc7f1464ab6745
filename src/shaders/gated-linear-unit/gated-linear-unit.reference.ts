import type { GatedActivation } from './gated-linear-unit';

const ACTIVATIONS: Record<GatedActivation, (x: number) => number> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu_pytorch_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

/** activation(gate) * up. */
export function gatedLinearUnitReference(gate: Float64Array, up: Float64Array, activation: GatedActivation): Float64Array {
  return gate.map((x, i) => ACTIVATIONS[activation](x) * up[i]!);
}
