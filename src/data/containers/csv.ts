import Papa from 'papaparse';
import { DatasetError } from '../../core/errors';
import type { Container, ContainerRow } from './container';

/** A record longer than this is a quote that nothing closes. */
const LONGEST_RECORD = 2 ** 26;

/** A table with a header line; commas, tabs, semicolons or bars between cells, as the file has them. */
export const csv: Container = async function* (text) {
  let header: string[] | null = null;
  let row = 0;
  for await (const { cells, problem } of records(text)) {
    if (cells.length === 1 && cells[0]!.trim() === '') continue;
    if (!header) {
      header = cells.map((cell) => cell.trim());
      continue;
    }
    yield readRecord(header, cells, problem, ++row);
  }
};

function readRecord(header: readonly string[], cells: readonly string[], problem: string | null, row: number): ContainerRow {
  if (problem) return { broken: `table row ${row}: ${problem}` };
  if (cells.length > header.length) return { broken: `table row ${row} has ${cells.length} cells under ${header.length} columns` };
  return { fields: Object.fromEntries(header.map((name, i) => [name, cells[i] ?? ''])) };
}

interface TableRecord {
  cells: string[];
  problem: string | null;
}

/**
 * Records while the text arrives: papaparse reads what is there, and the last record, which may go on, waits for the next
 * chunk.
 */
async function* records(text: AsyncIterable<string>): AsyncGenerator<TableRecord> {
  let rest = '';
  let delimiter = '';
  for await (const chunk of text) {
    rest += chunk;
    if (rest.length > LONGEST_RECORD) {
      throw new DatasetError('A table row is longer than 64 million characters: a quote is opened and never closed. Correct it, or save the rows as JSON Lines.');
    }
    delimiter ||= separatorOf(rest);
    const complete = parse(rest, delimiter).slice(0, -1);
    yield* complete;
    rest = rest.slice(complete.at(-1)?.end ?? 0);
  }
  yield* parse(rest, delimiter);
}

/** The separator that the header line has most of; text in the rows below would mislead a count of those. */
function separatorOf(text: string): string {
  const header = /^[^\r\n]*/.exec(text.trimStart())![0].replace(/"[^"]*"/g, '');
  const counted = [',', '\t', ';', '|'].map((separator) => ({ separator, count: header.split(separator).length - 1 }));
  return counted.reduce((best, item) => (item.count > best.count ? item : best)).separator;
}

function parse(input: string, delimiter: string): (TableRecord & { end: number })[] {
  const found: (TableRecord & { end: number })[] = [];
  if (input === '') return found;
  Papa.parse<string[]>(input, {
    delimiter,
    step: ({ data, errors, meta }) => {
      const quotes = errors.find((error) => error.type === 'Quotes');
      found.push({ cells: data, problem: quotes ? quotes.message : null, end: meta.cursor });
    },
  });
  return found;
}
