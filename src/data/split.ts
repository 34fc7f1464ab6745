export interface Split<T> {
  train: T[];
  held: T[];
}

/**
 * Holds out every 1/fraction-th row, evenly spread and starting with the first: fraction 0.1 takes rows 1, 11, 21 …
 * At least one row stays for training, and one is held out wherever a fraction was asked for and two rows are there.
 */
export function splitRows<T>(rows: readonly T[], fraction: number): Split<T> {
  if (fraction <= 0 || rows.length < 2) return { train: [...rows], held: [] };
  const train: T[] = [];
  const held: T[] = [];
  rows.forEach((row, i) => {
    // The i-th row is held out where the running total of fractions reaches a new whole number.
    const taken = Math.ceil(i * fraction - 1e-9);
    const due = Math.ceil((i + 1) * fraction - 1e-9);
    (due > taken ? held : train).push(row);
  });
  if (train.length === 0) train.push(held.pop()!);
  return { train, held };
}
