import { specialize, type Kernel } from '../runtime/program';

/** Floats that a kernel reads and writes at once. */
export type VectorWidth = 1 | 2 | 4;

/** The widest vector that divides all `lengths`, so that every row starts on a vector's boundary. */
export function vectorWidth(...lengths: readonly number[]): VectorWidth {
  for (const width of [4, 2] as const) if (lengths.every((length) => length % width === 0)) return width;
  return 1;
}

/**
 * A kernel written once for all vector widths: its WGSL sees the type `vecN` (f32, vec2 or vec4 of f32)
 * and `inner(a, b)`, the sum of the products of two vectors.
 */
export function specializeVector(
  name: string,
  source: string,
  width: VectorWidth,
  constants: Record<string, number | boolean | { f32: number }>,
): Kernel {
  const prelude =
    width === 1
      ? 'alias vecN = f32;\nfn inner(a: vecN, b: vecN) -> f32 { return a * b; }'
      : `alias vecN = vec${width}<f32>;\nfn inner(a: vecN, b: vecN) -> f32 { return dot(a, b); }`;
  return specialize(name, `${prelude}\n${source}`, constants);
}
