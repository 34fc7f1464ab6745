/** PCG4D on four 32-bit words (Jarzynski & Olano 2020). */
function pcg4d([a, b, c, d]: readonly [number, number, number, number]): [number, number, number, number] {
  let [x, y, z, w] = [a, b, c, d].map((seed) => (Math.imul(seed, 1664525) + 1013904223) | 0) as [number, number, number, number];
  const mix = (): void => {
    x = (x + Math.imul(y, w)) | 0;
    y = (y + Math.imul(z, x)) | 0;
    z = (z + Math.imul(x, y)) | 0;
    w = (w + Math.imul(y, z)) | 0;
  };
  mix();
  [x, y, z, w] = [x ^ (x >>> 16), y ^ (y >>> 16), z ^ (z >>> 16), w ^ (w >>> 16)];
  mix();
  return [x, y, z, w];
}

/** x with each value dropped where its hash, as a fraction of 2^32, is below p, the rest divided by 1 - p. */
export function dropoutReference(x: Float64Array, key: Float64Array, salt: number, p: number): Float64Array {
  const [a, b, c, d] = pcg4d([key[0]!, key[1]!, key[2]!, key[3]!]);
  const dropBelow = Math.round(p * 2 ** 32);
  return x.map((value, i) => {
    const [hash] = pcg4d([a ^ i, b ^ salt, c, d]);
    return hash >>> 0 < dropBelow ? 0 : value / (1 - p);
  });
}
