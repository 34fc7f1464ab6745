/** The value of largest magnitude, the first of equals, among the 32 from `at`; 0 where all are 0. */
export function signedLargest(values: Float32Array, at: number): number {
  let largest = 0;
  let signed = 0;
  for (let j = 0; j < 32; j++) {
    const x = values[at + j]!;
    const magnitude = x < 0 ? -x : x;
    if (magnitude > largest) {
      largest = magnitude;
      signed = x;
    }
  }
  return signed;
}
