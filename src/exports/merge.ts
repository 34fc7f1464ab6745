import type { AdapterTensor } from '../core/adapter';

/**
 * W += scale · B · A for rows `first`… of a weight: `rows` holds them row by row in float32, `columns` each;
 * A is `[r, columns]`, B `[out, r]`. Each change is summed in float64 and rounded once, with its weight.
 */
export function addLora(rows: Float32Array, first: number, columns: number, a: AdapterTensor, b: AdapterTensor, scale: number): void {
  const r = b.shape[1];
  const change = new Float64Array(columns);
  for (let at = 0, row = first; at < rows.length; at += columns, row++) {
    change.fill(0);
    let k = 0;
    // Four ranks a pass: loading and storing `change` would else cost more than the arithmetic.
    for (; k + 4 <= r; k += 4) addFourRanks(change, a.data, k, b.data, row * r, scale);
    for (; k < r; k++) {
      const factor = scale * b.data[row * r + k]!;
      for (let i = 0; i < columns; i++) change[i]! += factor * a.data[k * columns + i]!;
    }
    for (let i = 0; i < columns; i++) rows[at + i]! += change[i]!;
  }
}

function addFourRanks(change: Float64Array, a: Float32Array, k: number, b: Float32Array, bRow: number, scale: number): void {
  const columns = change.length;
  const [f0, f1, f2, f3] = [scale * b[bRow + k]!, scale * b[bRow + k + 1]!, scale * b[bRow + k + 2]!, scale * b[bRow + k + 3]!];
  const at = k * columns;
  for (let i = 0; i < columns; i++) {
    change[i]! += f0 * a[at + i]! + f1 * a[at + columns + i]! + f2 * a[at + 2 * columns + i]! + f3 * a[at + 3 * columns + i]!;
  }
}

/** Whether every number is finite: a sum of magnitudes is not where one of them is not. */
export function allFinite(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * 0;
  return sum === 0;
}
