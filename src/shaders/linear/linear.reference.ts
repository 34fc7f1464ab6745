/** y = into + scale · x · Wᵀ in float64: x [M, K], w [N, K], into and y [M, N]. */
export function linearReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  [M, N, K]: readonly [number, number, number],
  scale = 1,
  into?: ArrayLike<number>,
): Float64Array {
  const y = new Float64Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x[m * K + k]! * w[n * K + k]!;
      y[m * N + n] = scale * sum + (into ? into[m * N + n]! : 0);
    }
  }
  return y;
}

/** dx = scale · dy · W [M, K] and dw = scale · dyᵀ · x [N, K], in float64. */
export function linearBackwardReference(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  dy: ArrayLike<number>,
  [M, N, K]: readonly [number, number, number],
  scale = 1,
): { dx: Float64Array; dw: Float64Array } {
  const dx = new Float64Array(M * K);
  const dw = new Float64Array(N * K);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      const d = scale * dy[m * N + n]!;
      for (let k = 0; k < K; k++) {
        dx[m * K + k]! += d * w[n * K + k]!;
        dw[n * K + k]! += d * x[m * K + k]!;
      }
    }
  }
  return { dx, dw };
}
