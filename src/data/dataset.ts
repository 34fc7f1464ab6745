import type { ByteSource } from '../core/bytes';
import { DatasetError } from '../core/errors';
import type { OnProgress } from '../core/progress';
import type { Message } from './chat/render';
import type { Container, ContainerRow } from './containers/container';
import { csv } from './containers/csv';
import { NotInEncoding, readText, sniffEncoding, type TextEncoding } from './containers/decode';
import { json } from './containers/json';
import { jsonl } from './containers/jsonl';
import { plain } from './containers/plain';
import { rolesAlternate } from './formats/conversation';
import { detectFormat, formatNamed } from './formats/detect';
import { isUnusable, type DatasetFormat, type Format, type RawRow, type Row } from './formats/row';
import { ProblemLog, rowsThat, type DatasetProblem } from './problems';

export type { DatasetFormat, Row } from './formats/row';
export type { DatasetProblem } from './problems';

/** A data set as read: its usable rows in file order, and what is wrong with the others. */
export interface Dataset {
  name: string;
  format: DatasetFormat;
  /** Rows in the file, usable or not. */
  rowCount: number;
  rows: Row[];
  problems: DatasetProblem[];
}

export interface ReadOptions {
  /** Left out: the format that fits the rows. */
  format?: DatasetFormat;
  onProgress?: OnProgress;
}

/** Rows that are looked at before the format is decided. */
const EVIDENCE = 200;

/**
 * Reads a data set file (JSON Lines, JSON, CSV or TSV, plain text; UTF-8, UTF-16 or Windows-1252) a megabyte at a time.
 * Rows that cannot be used are told in `problems`; throws a DatasetError where the file is of no known kind or has no usable row.
 */
export async function readDataset(source: ByteSource, { format, onProgress }: ReadOptions = {}): Promise<Dataset> {
  if (source.size === 0) throw new DatasetError(`${source.name} is empty; choose a file with rows to learn from.`);
  await refuseBinary(source);
  const encoding = await sniffEncoding(source);
  try {
    return await readAs(source, encoding, new RowReader(source.name, format), onProgress);
  } catch (error) {
    if (!(error instanceof NotInEncoding)) throw error;
  }
  const reader = new RowReader(source.name, format);
  reader.problems.add('note', 0, () => `The file is not ${encoding.label.toUpperCase()}; it was read as Windows-1252. Check accents and quotes in the preview.`);
  return readAs(source, { label: 'windows-1252', skip: 0 }, reader, onProgress);
}

async function readAs(source: ByteSource, encoding: TextEncoding, reader: RowReader, onProgress?: OnProgress): Promise<Dataset> {
  const text = readText(source, encoding, onProgress);
  const first = await text.next();
  const head = first.done ? '' : first.value;
  const container = chooseContainer(source.name, head);
  const whole = (async function* () {
    yield head;
    yield* text;
  })();
  for await (const row of container(whole)) reader.push(row);
  return reader.finish();
}

/** The container that a file's ending names, else the one that its first characters show. */
function chooseContainer(name: string, head: string): Container {
  const ending = /\.([a-z0-9]+)$/.exec(name.toLowerCase())?.[1];
  if (ending === 'jsonl' || ending === 'ndjson') return jsonl;
  if (ending === 'csv' || ending === 'tsv') return csv;
  if (ending === 'txt' || ending === 'md') return plain;
  const start = head.trimStart();
  if (start.startsWith('[')) return json;
  if (start.startsWith('{')) return isJsonLines(start) ? jsonl : json;
  if (ending === 'json') return json;
  const firstLine = /^[^\r\n]*/.exec(start)![0];
  const columns = firstLine.split(/[,;\t|]/).map((cell) => [cell.trim().replace(/^"|"$/g, ''), ''] as const);
  return columns.length > 1 && fitsSomeFormat(Object.fromEntries(columns)) ? csv : plain;
}

/** True where the first line is a JSON value of its own and another line follows. */
function isJsonLines(start: string): boolean {
  const end = start.search(/[\r\n]/);
  if (end < 0 || start.slice(end).trim() === '') return false;
  try {
    JSON.parse(start.slice(0, end));
    return true;
  } catch {
    return false;
  }
}

function fitsSomeFormat(row: RawRow): boolean {
  try {
    detectFormat([row]);
    return true;
  } catch {
    return false;
  }
}

const BINARY: readonly { magic: string; what: string }[] = [
  { magic: 'PAR1', what: 'a Parquet file' },
  { magic: 'PK\x03\x04', what: 'a zip archive or an Excel file' },
  { magic: '\x1f\x8b', what: 'a gzip archive' },
  { magic: 'GGUF', what: 'a GGUF model' },
  { magic: '%PDF', what: 'a PDF file' },
];

async function refuseBinary(source: ByteSource): Promise<void> {
  const head = String.fromCharCode(...(await source.read(0, Math.min(4, source.size))));
  const found = BINARY.find(({ magic }) => head.startsWith(magic));
  if (found) throw new DatasetError(`${source.name} is ${found.what}, not text; save the rows as JSON Lines, JSON or CSV.`);
}

/** Turns a container's rows into usable ones, deciding on the format once enough of them were seen. */
class RowReader {
  readonly problems = new ProblemLog();
  private readonly rows: Row[] = [];
  private rowCount = 0;
  private format: Format | null;
  /** Rows kept until the format is known. */
  private waiting: { fields: RawRow; row: number }[] = [];
  private readonly seen = new Map<string, number>();
  private brokenExample = '';

  constructor(
    private readonly name: string,
    format?: DatasetFormat,
  ) {
    this.format = format ? formatNamed(format) : null;
  }

  push(container: ContainerRow): void {
    const row = ++this.rowCount;
    if ('broken' in container) {
      this.brokenExample ||= container.broken;
      this.problems.add('block', row, (count) => `${count === 1 ? '1 row' : `${count} rows`} cannot be read: ${this.brokenExample}${count === 1 ? '' : ', and so on'}`);
    } else if (this.format) {
      this.take(this.format, container.fields, row);
    } else {
      this.waiting.push({ fields: container.fields, row });
      if (this.waiting.length >= EVIDENCE) this.decide();
    }
  }

  finish(): Dataset {
    if (!this.format && this.waiting.length > 0) this.decide();
    const problems = this.problems.list();
    if (this.rowCount === 0 || !this.format) {
      throw new DatasetError(`${this.name} has no rows${problems[0] ? ` that can be read: ${problems[0].message}` : ''}; choose a file with rows to learn from.`);
    }
    if (this.rows.length === 0) {
      throw new DatasetError(`${this.name} has no row that can be used: ${problems[0]?.message ?? 'all are empty'}. Correct the rows and choose the file again.`);
    }
    return { name: this.name, format: this.format.name, rowCount: this.rowCount, rows: this.rows, problems };
  }

  private decide(): void {
    const format = formatNamed(detectFormat(this.waiting.map((item) => item.fields)));
    this.format = format;
    for (const { fields, row } of this.waiting) this.take(format, fields, row);
    this.waiting = [];
  }

  private take(format: Format, fields: RawRow, row: number): void {
    if (!format.matches(fields)) {
      this.problems.add('block', row, rowsThat(`lacks ${format.keys}`, `lack ${format.keys}`));
      return;
    }
    const content = format.read(fields);
    if (isUnusable(content)) {
      this.problems.add('block', row, rowsThat(content.one, content.many));
      return;
    }
    if (content.kind === 'chat') this.checkTurns(content.messages, row);
    this.noteDuplicate(contentKey(content), row);
    this.rows.push({ ...content, row });
  }

  private checkTurns(messages: readonly Message[], row: number): void {
    if (!rolesAlternate(messages)) {
      this.problems.add('warn', row, rowsThat('does not alternate between user and assistant', 'do not alternate between user and assistant'));
    } else if (messages.at(-1)!.role !== 'assistant') {
      this.problems.add('note', row, rowsThat('ends with a question that has no reply', 'end with a question that has no reply'));
    }
  }

  private noteDuplicate(key: string, row: number): void {
    const first = this.seen.get(key);
    if (first === undefined) this.seen.set(key, row);
    else this.problems.add('note', row, rowsThat('is an exact repetition of an earlier one', 'are exact repetitions of earlier ones'));
  }
}

/** A short key that equal contents share: three 32-bit multiplicative hashes and the length, so that texts need not be kept twice. */
export function contentKey(content: object): string {
  const text = JSON.stringify({ ...content, row: undefined });
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  let c = 0x9e3779b9;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 2654435761);
    b = Math.imul(b ^ unit, 1597334677);
    c = Math.imul(c ^ unit, 2246822519) + (c >>> 13);
  }
  return `${(a >>> 0).toString(36)}.${(b >>> 0).toString(36)}.${(c >>> 0).toString(36)}.${text.length}`;
}

/** Held-out rows that are also trained on, word for word: their loss says nothing about new text. */
export function leakedRows(train: readonly Row[], held: readonly Row[]): DatasetProblem[] {
  const trained = new Set(train.map((row) => contentKey(row)));
  const problems = new ProblemLog();
  for (const row of held) {
    if (trained.has(contentKey(row))) problems.add('warn', row.row, rowsThat('is held out and also trained on', 'are held out and also trained on'));
  }
  return problems.list();
}
