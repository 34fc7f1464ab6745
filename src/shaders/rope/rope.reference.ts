/**
 * Rotary position embedding, rotate_half layout: in each head of headDim values, (x[i], x[i + rotary/2]) turns by the angle
 * whose cosine and sine are in row positions[m] of the table. x: [M, heads * headDim].
 */
export function ropeReference(x: Float64Array, positions: Float64Array, table: Float64Array, headDim: number, rotary: number): Float64Array {
  const out = x.slice();
  const half = rotary / 2;
  const row = x.length / positions.length;
  positions.forEach((position, m) => {
    for (let head = m * row; head < (m + 1) * row; head += headDim) {
      for (let i = 0; i < half; i++) {
        const cosine = table[position * rotary + i]!;
        const sine = table[position * rotary + half + i]!;
        out[head + i] = x[head + i]! * cosine - x[head + half + i]! * sine;
        out[head + half + i] = x[head + half + i]! * cosine + x[head + i]! * sine;
      }
    }
  });
  return out;
}
