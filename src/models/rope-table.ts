import type { ModelConfig } from '../core/model';

/**
 * Cosines and sines of every position, `[positions, head_dim]`: head_dim/2 cosines, then head_dim/2 sines.
 * Computed here in f64, because WGSL promises its own sin and cos only to 2^-11.
 */
export function ropeTable(config: ModelConfig, positions: number): Float32Array {
  const { head_dim, rope_theta, rope_factors } = config;
  const half = head_dim / 2;
  const table = new Float32Array(positions * head_dim);
  for (let i = 0; i < half; i++) {
    const frequency = rope_theta ** ((-2 * i) / head_dim) / (rope_factors?.[i] ?? 1);
    for (let p = 0; p < positions; p++) {
      table[p * head_dim + i] = Math.cos(p * frequency);
      table[p * head_dim + half + i] = Math.sin(p * frequency);
    }
  }
  return table;
}
