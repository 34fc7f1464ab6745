/** x · magnitude / norm, column by column of rows of N values. */
export function scaleRowsReference(x: Float64Array, magnitude: Float64Array, norm: Float64Array): Float64Array {
  const N = norm.length;
  return x.map((value, i) => (norm[i % N] === 0 ? 0 : (value * magnitude[i % N]!) / norm[i % N]!));
}

/** ‖W[n] + scale·(B·A)[n]‖ for every row: w [N, C], a [R, C], b [N, R]. */
export function adaptedNormsReference(
  w: ArrayLike<number>,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  [N, C, R]: readonly [number, number, number],
  scale: number,
): Float64Array {
  return Float64Array.from({ length: N }, (_, n) => {
    let squares = 0;
    for (let c = 0; c < C; c++) {
      let value = w[n * C + c]!;
      for (let r = 0; r < R; r++) value += scale * b[n * R + r]! * a[r * C + c]!;
      squares += value ** 2;
    }
    return Math.sqrt(squares);
  });
}
