import { maxRows, rowLength, type Rows, type Tensor } from '../../runtime/program';

/** A tensor as rows of independent values: one long row where its size is fixed, so that vectors can span rows. */
export function flat(tensor: Tensor): { rows: Rows; length: number } {
  const [rows] = tensor.shape;
  if (typeof rows === 'number') return { rows: 1, length: maxRows(rows) * rowLength(tensor.shape) };
  return { rows, length: rowLength(tensor.shape) };
}
