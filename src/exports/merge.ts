import { loraScale, peftName, type Adapter, type AdapterTensor } from '../core/adapter';
import { ExportError } from '../core/errors';

/** Changes rows `first`… of a weight in place: `rows` holds them one after the other in float32, `columns` each. */
export type MergeRows = (rows: Float32Array, first: number, columns: number) => void;

/**
 * How an adapter changes a module's weight: W + s·B·A, with DoRA (m / ‖W + s·B·A‖) · (W + s·B·A), row by row. Each value
 * is computed in float64 and rounded once. Null where the adapter leaves the module alone.
 */
export function mergerOf(adapter: Adapter | null | undefined, path: string): MergeRows | null {
  const [a, b] = [adapter?.tensors.get(peftName(path, 'A')), adapter?.tensors.get(peftName(path, 'B'))];
  if (!adapter || !a || !b) return null;
  const scale = loraScale(adapter.config, path);
  if (!adapter.config.use_dora) return (rows, first, columns) => changeRows(rows, first, columns, { a, b, scale, magnitude: null });
  const magnitude = adapter.magnitudes.get(path);
  if (!magnitude) throw new ExportError(`the adapter lacks the DoRA magnitudes of ${path}, so it cannot be merged; save it again.`);
  return (rows, first, columns) => changeRows(rows, first, columns, { a, b, scale, magnitude });
}

interface Change {
  a: AdapterTensor;
  b: AdapterTensor;
  scale: number;
  magnitude: Float32Array | null;
}

function changeRows(rows: Float32Array, first: number, columns: number, { a, b, scale, magnitude }: Change): void {
  const r = b.shape[1];
  const changed = new Float64Array(columns);
  for (let at = 0, row = first; at < rows.length; at += columns, row++) {
    for (let i = 0; i < columns; i++) changed[i] = rows[at + i]!;
    let k = 0;
    // Four ranks a pass: loading and storing `changed` would else cost more than the arithmetic.
    for (; k + 4 <= r; k += 4) addFourRanks(changed, a.data, k, b.data, row * r, scale);
    for (; k < r; k++) {
      const factor = scale * b.data[row * r + k]!;
      for (let i = 0; i < columns; i++) changed[i]! += factor * a.data[k * columns + i]!;
    }
    const gain = magnitude ? rowGain(changed, magnitude[row]!) : 1;
    for (let i = 0; i < columns; i++) rows[at + i] = gain * changed[i]!;
  }
}

/** What a row is multiplied by to have the length `magnitude`; a row of zeros stays one. */
function rowGain(row: Float64Array, magnitude: number): number {
  let squares = 0;
  for (let i = 0; i < row.length; i++) squares += row[i]! ** 2;
  return squares === 0 ? 0 : magnitude / Math.sqrt(squares);
}

function addFourRanks(changed: Float64Array, a: Float32Array, k: number, b: Float32Array, bRow: number, scale: number): void {
  const columns = changed.length;
  const [f0, f1, f2, f3] = [scale * b[bRow + k]!, scale * b[bRow + k + 1]!, scale * b[bRow + k + 2]!, scale * b[bRow + k + 3]!];
  const at = k * columns;
  for (let i = 0; i < columns; i++) {
    changed[i]! += f0 * a[at + i]! + f1 * a[at + columns + i]! + f2 * a[at + 2 * columns + i]! + f3 * a[at + 3 * columns + i]!;
  }
}

/** Whether every number is finite: a sum of magnitudes is not where one of them is not. */
export function allFinite(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * 0;
  return sum === 0;
}
