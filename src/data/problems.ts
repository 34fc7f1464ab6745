/** Something about a data set that a person should know; the same shape as workers/api.ts gives to the page. */
export interface DatasetProblem {
  /** block: rows cannot be used. warn: they can, but probably not as meant. note: good to know. */
  severity: 'block' | 'warn' | 'note';
  message: string;
  /** Row numbers, counted from 1 (the first 1,000). */
  rows: number[];
  count: number;
}

const MOST_ROWS = 1000;
const ORDER = { block: 0, warn: 1, note: 2 } as const;

/** Gathers problems of the same kind into one entry with its rows. */
export class ProblemLog {
  private readonly found = new Map<string, DatasetProblem & { describe: (count: number) => string }>();

  /**
   * Notes a problem of a row. `describe` words the entry for a number of rows; entries are the same kind where their
   * wording for one row is.
   */
  add(severity: DatasetProblem['severity'], row: number, describe: (count: number) => string): void {
    const key = `${severity} ${describe(1)}`;
    let entry = this.found.get(key);
    if (!entry) {
      entry = { severity, message: '', rows: [], count: 0, describe };
      this.found.set(key, entry);
    }
    entry.count++;
    if (entry.rows.length < MOST_ROWS) entry.rows.push(row);
  }

  /** Everything noted, the gravest first. */
  list(): DatasetProblem[] {
    return [...this.found.values()]
      .map(({ severity, rows, count, describe }) => ({ severity, message: describe(count), rows, count }))
      .sort((a, b) => ORDER[a.severity] - ORDER[b.severity] || b.count - a.count);
  }
}

/** `1 row has …` or `3 rows have …`. */
export function rowsThat(one: string, many: string): (count: number) => string {
  return (count) => (count === 1 ? `1 row ${one}` : `${count} rows ${many}`);
}
