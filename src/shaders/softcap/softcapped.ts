import source from './softcapped.wgsl?raw';

/** WGSL of `softcapped(score)`: value and derivative of a score under a soft cap. Needs the constants of `softcapConstants`. */
export const SOFTCAPPED = source;

/** Constants of SOFTCAPPED for a cap; with null the function is the identity, which compilers remove. */
export function softcapConstants(cap: number | null): { CAPPED: boolean; CAP: { f32: number } } {
  return { CAPPED: cap !== null, CAP: { f32: cap ?? 1 } };
}
