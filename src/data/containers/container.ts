import type { RawRow } from '../formats/row';

/** What a container yields for each row of the file, in order: its fields, or why it has none. */
export type ContainerRow = { fields: RawRow } | { broken: string };

export type Container = (text: AsyncIterable<string>) => AsyncGenerator<ContainerRow>;

/** The text in lines, without their `\n`, `\r\n` or `\r`. */
export async function* lines(text: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of text) {
    rest += chunk;
    // A carriage return at the very end may be half of a line end that the next chunk completes.
    const parts = rest.split(/\r\n|\n|\r(?!$)/);
    rest = parts.pop()!;
    yield* parts;
  }
  const last = rest.endsWith('\r') ? rest.slice(0, -1) : rest;
  if (last !== '') yield last;
}

export function isObject(value: unknown): value is RawRow {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
