import { f32ToF16 } from '../../core/dtype';

/**
 * Float16 bits of each value, little-endian into `out`: round to nearest, ties to even.
 * Values in the normal range take the integer path, the rest go through core's conversion.
 */
export function quantizeF16(values: Float32Array, out: Uint8Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    const magnitude = word & 0x7fffffff;
    let half: number;
    if (magnitude >= 0x38800000 && magnitude < 0x47800000) {
      half = ((word >>> 16) & 0x8000) | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    } else {
      half = f32ToF16(values[i]!);
    }
    out[2 * i] = half;
    out[2 * i + 1] = half >>> 8;
  }
}
