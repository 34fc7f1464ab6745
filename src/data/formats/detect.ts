import { DatasetError } from '../../core/errors';
import { alpaca } from './alpaca';
import { messages } from './messages';
import { promptCompletion } from './prompt-completion';
import type { DatasetFormat, Format, RawRow } from './row';
import { sharegpt } from './sharegpt';
import { text } from './text';
import { tokens } from './tokens';

/** In the order in which they are preferred where rows fit several: Alpaca's own files also have a `text` key. */
const FORMATS: readonly Format[] = [tokens, messages, sharegpt, promptCompletion, alpaca, text];

export function formatNamed(name: DatasetFormat): Format {
  return FORMATS.find((format) => format.name === name)!;
}

/** The format that most of the rows fit. Throws a DatasetError, with the keys found and the keys expected, where none fits. */
export function detectFormat(rows: readonly RawRow[]): DatasetFormat {
  const fits = FORMATS.map((format) => ({ format, rows: rows.filter((row) => format.matches(row)).length }));
  const best = fits.reduce((a, b) => (b.rows > a.rows ? b : a));
  if (best.rows > 0) return best.format.name;
  const found = [...new Set(rows.flatMap((row) => Object.keys(row)))].slice(0, 10).map((key) => JSON.stringify(key.slice(0, 40)));
  throw new DatasetError(
    `No row is in a form that Hone knows: the rows have ${found.length > 0 ? `the keys ${found.join(', ')}` : 'no keys'}, ` +
      `and one of these was expected: ${FORMATS.map((format) => format.keys).join('; ')}. Rename the keys or columns.`,
  );
}
