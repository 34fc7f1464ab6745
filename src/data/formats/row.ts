import type { Message } from '../chat/render';

export type DatasetFormat = 'messages' | 'sharegpt' | 'prompt-completion' | 'alpaca' | 'text' | 'tokens';

/** A row as its container gives it: keys and values of a JSON object, or a table's columns. */
export type RawRow = Readonly<Record<string, unknown>>;

/** What is learned from, whatever the format: a conversation, an answer to a prompt, running text, or ready tokens. */
export type Content =
  | { kind: 'chat'; messages: Message[] }
  | { kind: 'completion'; system: string | null; prompt: string; completion: string }
  | { kind: 'text'; text: string }
  | { kind: 'tokens'; input_ids: number[]; labels: number[]; segment_ids: number[] | null };

/** A usable row; `row` counts the file's rows from 1. */
export type Row = Content & { row: number };

/** Why a row cannot be used: `one` continues "1 row …", `many` continues "3 rows …". */
export interface Unusable {
  one: string;
  many: string;
}

/** One data set format: how its rows are recognised and read. */
export interface Format {
  readonly name: DatasetFormat;
  /** The keys of a row, for messages: `prompt and completion`. */
  readonly keys: string;
  matches(raw: RawRow): boolean;
  read(raw: RawRow): Content | Unusable;
}

export function isUnusable(result: Content | Unusable): result is Unusable {
  return 'one' in result;
}

/** A value that a table's cell spells as JSON, parsed; anything else as it is. */
export function cellValue(value: unknown): unknown {
  if (typeof value !== 'string' || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return value;
  }
}

/** A key's text, null where it is absent or null; numbers as tables and loose JSON have them are text too. */
export function textOf(raw: RawRow, ...keys: string[]): string | null {
  for (const key of keys) {
    const value = Object.hasOwn(raw, key) ? raw[key] : undefined;
    if (typeof value === 'string') return value;
    if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  }
  return null;
}

export function hasKey(raw: RawRow, ...keys: string[]): boolean {
  return keys.some((key) => Object.hasOwn(raw, key));
}

export const lacks = (what: string): Unusable => ({ one: `lacks ${what}`, many: `lack ${what}` });
export const EMPTY_REPLY: Unusable = { one: 'has an empty reply', many: 'have an empty reply' };
