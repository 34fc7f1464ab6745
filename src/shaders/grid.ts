import { linearGrid } from '../runtime/program';

/** Threads of a workgroup in kernels that treat each value by itself. */
const THREADS = 256;

/** A grid with one thread for each of `perRow` pieces of every row, in workgroups of 256. */
export function threadGrid(perRow: number): (rows: number) => [number, number, number] {
  return (rows) => linearGrid(Math.ceil((rows * perRow) / THREADS));
}

/** A grid with `perRow` workgroups for every row. */
export function groupGrid(perRow = 1): (rows: number) => [number, number, number] {
  return (rows) => linearGrid(rows * perRow);
}
