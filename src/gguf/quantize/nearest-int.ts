const float = new Float32Array(1);
const word = new Int32Array(float.buffer);

/** Adding and subtracting it rounds a float64 below 2^51 to the nearest whole number, halves to even. */
export const ROUNDER = 1.5 * 2 ** 52;

/**
 * The whole number that ggml's nearest_int gives for a float32: halves go to even. It adds 1.5 · 2^23 and takes the low
 * 23 bits of the sum, so beyond ±2^22 the result wraps round; for NaN it is 0, for infinities -2^22.
 */
export function nearestInt(value: number): number {
  float[0] = value + 1.5 * 2 ** 23;
  return (word[0]! & 0x7fffff) - 0x400000;
}

/** nearest_int's result held within two bounds. */
export function boundedInt(value: number, least: number, most: number): number {
  const nearest = nearestInt(value);
  return nearest < least ? least : nearest > most ? most : nearest;
}
