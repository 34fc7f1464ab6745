/** Bfloat16 bits of each value, little-endian into `out`: round to nearest, ties to even; NaN kept quiet. */
export function quantizeBF16(values: Float32Array, out: Uint8Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    const half = (word & 0x7fffffff) > 0x7f800000 ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    out[2 * i] = half;
    out[2 * i + 1] = half >>> 8;
  }
}
