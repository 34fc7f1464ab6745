import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MemorySource } from '../../src/core/bytes';
import { DatasetError, HoneError } from '../../src/core/errors';
import { jsonErrorPosition } from '../../src/data/containers/json-position';
import { leakedRows, readDataset, type Dataset } from '../../src/data/dataset';
import type { DatasetFormat } from '../../src/data/formats/row';
import { shared } from '../shared';

function read(content: string | Uint8Array, name = 'rows.jsonl', format?: DatasetFormat): Promise<Dataset> {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  return readDataset(new MemorySource(bytes, name), format ? { format } : {});
}

const jsonl = (...rows: unknown[]): string => rows.map((row) => JSON.stringify(row)).join('\n');
const chat = (question: string, answer: string) => ({ messages: [{ role: 'user', content: question }, { role: 'assistant', content: answer }] });

describe('a data set format', () => {
  const cases: [DatasetFormat, unknown, unknown][] = [
    ['messages', chat('a', 'b'), { kind: 'chat', messages: chat('a', 'b').messages }],
    [
      'messages',
      { messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }, { type: 'text', text: 'b' }] }, { role: 'assistant', content: 'c' }] },
      { kind: 'chat', messages: chat('ab', 'c').messages },
    ],
    [
      'sharegpt',
      { system: 's', conversations: [{ from: 'human', value: 'a' }, { from: 'gpt', value: 'b' }] },
      { kind: 'chat', messages: [{ role: 'system', content: 's' }, ...chat('a', 'b').messages] },
    ],
    ['prompt-completion', { prompt: 'a', completion: 'b' }, { kind: 'completion', system: null, prompt: 'a', completion: 'b' }],
    ['prompt-completion', { prompt: [{ role: 'user', content: 'a' }], completion: [{ role: 'assistant', content: 'b' }] }, { kind: 'chat', messages: chat('a', 'b').messages }],
    ['alpaca', { instruction: 'a', input: 'b', output: 'c', text: 'all of it' }, { kind: 'completion', system: null, prompt: 'a\n\nb', completion: 'c' }],
    ['alpaca', { instruction: 'a', input: '', output: 'c' }, { kind: 'completion', system: null, prompt: 'a', completion: 'c' }],
    ['text', { text: ' a ' }, { kind: 'text', text: ' a ' }],
    ['tokens', { input_ids: [1, 2, 3], labels: [-100, 2, 3] }, { kind: 'tokens', input_ids: [1, 2, 3], labels: [-100, 2, 3], segment_ids: null }],
    ['tokens', { input_ids: [1, 2, 0], attention_mask: [1, 1, 0] }, { kind: 'tokens', input_ids: [1, 2, 0], labels: [1, 2, -100], segment_ids: null }],
  ];

  it.each(cases)('%s is found and read: %j', async (format, row, content) => {
    const dataset = await read(jsonl(row));
    expect(dataset.format).toBe(format);
    expect(dataset.rows).toEqual([{ ...(content as object), row: 1 }]);
    expect(dataset.problems).toEqual([]);
  });

  it('is the one that most rows fit; the others are named by number', async () => {
    const dataset = await read(jsonl(chat('a', 'b'), { text: 'stray' }, chat('c', 'd')));
    expect(dataset.format).toBe('messages');
    expect(dataset.rows.map((row) => row.row)).toEqual([1, 3]);
    expect(dataset.problems).toEqual([{ severity: 'block', message: '1 row lacks messages', rows: [2], count: 1 }]);
  });

  it('is refused with the keys found and the keys expected', async () => {
    await expect(read(jsonl({ foo: 1, bar: 2 }))).rejects.toThrow(/keys "foo", "bar", and one of these was expected: input_ids; messages/);
    await expect(read(jsonl(chat('a', 'b')), 'rows.jsonl', 'text')).rejects.toThrow(/no row that can be used: 1 row lacks text/);
  });

  it('says of each unusable row what is wrong with it', async () => {
    const bad = [
      chat('a', '  '),
      { messages: [{ role: 'user', content: 'a' }] },
      { messages: [{ role: 'tool', content: 'a' }, { role: 'assistant', content: 'b' }] },
      { messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: null }] },
      { messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'b', tool_calls: [{}] }] },
      { messages: ['hi'] },
      { messages: [{ content: 'x' }] },
      { messages: [{ role: 'constructor', content: 'x' }] },
    ];
    const dataset = await read(jsonl(chat('good', 'row'), ...bad));
    expect(dataset.rows.length).toBe(1);
    expect(dataset.problems.map(({ message, rows }) => [message, rows])).toEqual([
      ['1 row has an empty reply', [2]],
      ['1 row lacks an assistant message', [3]],
      ['1 row has a turn by "tool", which Hone does not train on', [4]],
      ['1 row has a turn whose "content" is not text', [5]],
      ['1 row calls tools, which Hone does not train on', [6]],
      ['1 row has a turn that is not an object', [7]],
      ['1 row has a turn without "role"', [8]],
      ['1 row has a turn by "constructor", which Hone does not train on', [9]],
    ]);
  });

  it('checks ready tokens', async () => {
    const dataset = await read(jsonl({ input_ids: [1, 2] }, { input_ids: [1, -2] }, { input_ids: [1, 2.5] }, { input_ids: [1, 2], labels: [1] }, { input_ids: [1, 2], segment_ids: ['a', 'b'] }));
    expect(dataset.rows.length).toBe(1);
    expect(dataset.problems.map((problem) => problem.rows)).toEqual([[2, 3], [4], [5]]);
  });

  it('notes repeated rows, odd turns and open questions without dropping them', async () => {
    const twice = { messages: [{ role: 'user', content: 'a' }, { role: 'user', content: 'b' }, { role: 'assistant', content: 'c' }] };
    const open = { messages: [...chat('a', 'b').messages, { role: 'user', content: 'c' }] };
    const dataset = await read(jsonl(chat('a', 'b'), chat('a', 'b'), twice, open));
    expect(dataset.rows.length).toBe(4);
    expect(dataset.problems.map(({ severity, rows }) => [severity, rows])).toEqual([
      ['warn', [3]],
      ['note', [2]],
      ['note', [4]],
    ]);
  });

  it('tells held-out rows that are also trained on', async () => {
    const { rows } = await read(jsonl(chat('a', 'b'), chat('c', 'd'), chat('a', 'b')));
    expect(leakedRows(rows.slice(0, 2), rows.slice(2))).toEqual([{ severity: 'warn', message: '1 row is held out and also trained on', rows: [3], count: 1 }]);
    expect(leakedRows(rows.slice(0, 1), rows.slice(1, 2))).toEqual([]);
  });
});

describe('a data set file', () => {
  it('may be a JSON list, an object around one, one object, or JSON Lines under another name', async () => {
    const rows = [chat('a', 'b'), chat('c', 'd[{,"\\')];
    const expected = rows.map((row, i) => ({ kind: 'chat', messages: row.messages, row: i + 1 }));
    expect((await read(JSON.stringify(rows), 'rows.json')).rows).toEqual(expected);
    expect((await read(JSON.stringify(rows, null, 2), 'rows')).rows).toEqual(expected);
    expect((await read(JSON.stringify({ version: 1, data: rows }), 'rows.json')).rows).toEqual(expected);
    expect((await read(JSON.stringify({ rows: rows.map((row) => ({ row_idx: 0, row })) }, null, 1), 'rows.json')).rows).toEqual(expected);
    expect((await read(JSON.stringify(rows[0], null, 2), 'row.json')).rows).toEqual(expected.slice(0, 1));
    expect((await read(jsonl(...rows), 'rows.json')).rows).toEqual(expected);
    expect((await read(`\n\n${jsonl(...rows)}\n\n`, 'rows')).rows).toEqual(expected);
  });

  it('may be a table with any usual separator, quotes and line ends', async () => {
    const expected = [
      { kind: 'completion', system: null, prompt: 'a, "b"', completion: 'c\nd', row: 1 },
      { kind: 'completion', system: null, prompt: 'e', completion: 'f', row: 2 },
    ];
    expect((await read('prompt,completion\r\n"a, ""b""","c\nd"\r\ne,f\r\n', 'rows.csv')).rows).toEqual(expected);
    expect((await read('id\tcompletion\tprompt\n1\t"c\nd"\t"a, ""b"""\n\n2\tf\te', 'rows.tsv')).rows).toEqual(expected);
    expect((await read('prompt;completion\n"a, ""b""";"c\nd"\ne;f\n', 'rows.csv')).rows).toEqual(expected);
    const messages = JSON.stringify(chat('a', 'b').messages).replaceAll('"', '""');
    expect((await read(`messages\n"${messages}"\n`, 'rows.csv')).rows).toEqual([{ kind: 'chat', messages: chat('a', 'b').messages, row: 1 }]);
    const broken = await read('text,n\nfine,1\na,b,c\n"x"y,2\n', 'rows.csv');
    expect(broken.rows.map((row) => row.row)).toEqual([1]);
    expect(broken.problems[0]!.rows).toEqual([2, 3]);
  });

  it('may be plain text in paragraphs, of which overlong ones are cut', async () => {
    const dataset = await read('One line\nand another.\n\n\n  \nSecond.\r\n\r\nThird.', 'story.txt');
    expect(dataset.rows).toEqual(['One line\nand another.', 'Second.', 'Third.'].map((text, i) => ({ kind: 'text', text, row: i + 1 })));
    const long = await read(Array.from({ length: 500 }, (_, i) => `Line ${i} of a file without blank lines.`).join('\n'), 'book.txt');
    expect(long.rows.length).toBeGreaterThan(1);
    expect(long.rows.map((row) => (row.kind === 'text' ? row.text : '')).join('\n').split('\n').length).toBe(500);
  });

  it('may be UTF-8 with a byte-order mark, UTF-16 or Windows-1252', async () => {
    const text = jsonl({ text: 'Grüße – 世界 🙂' });
    const utf16 = (bigEndian: boolean, mark: boolean): Uint8Array => {
      const units = new DataView(new ArrayBuffer(2 * (text.length + (mark ? 1 : 0))));
      const all = (mark ? '\ufeff' : '') + text;
      for (let i = 0; i < all.length; i++) units.setUint16(2 * i, all.charCodeAt(i), !bigEndian);
      return new Uint8Array(units.buffer);
    };
    const expected = [{ kind: 'text', text: 'Grüße – 世界 🙂', row: 1 }];
    expect((await read(`\ufeff${text}`)).rows).toEqual(expected);
    expect((await read(utf16(false, true))).rows).toEqual(expected);
    expect((await read(utf16(true, true))).rows).toEqual(expected);
    expect((await read(utf16(false, false))).rows).toEqual(expected);
    const latin = await read(Uint8Array.from('{"text": "Gr\xfc\xdfe"}', (character) => character.charCodeAt(0)));
    expect(latin.rows).toEqual([{ kind: 'text', text: 'Grüße', row: 1 }]);
    expect(latin.problems[0]!.message).toContain('Windows-1252');
  });

  it('tells where it is broken: line and column', async () => {
    const dataset = await read(`${jsonl({ text: 'a' })}\n{"text": "b" "c"}\n[1]\n${jsonl({ text: 'd' })}\n{"text": "e`);
    expect(dataset.rows.map((row) => row.row)).toEqual([1, 4]);
    expect(dataset.problems[0]).toMatchObject({ severity: 'block', count: 3, rows: [2, 3, 5] });
    expect(dataset.problems[0]!.message).toContain('line 2 is not valid JSON at column 14');
    const list = await read('[\n {"text": "a"},\n {"text": oops},\n {"text": "b"}', 'rows.json');
    expect(list.problems[0]!.message).toContain('line 3 is not valid JSON at column 11');
    expect(list.problems[0]!.rows).toEqual([2, 3]);
    await expect(read('{"data": [\n  {"text": "a",}\n]}', 'rows.json')).rejects.toThrow(/line 2, column 16/);
  });

  it('is refused when it is empty, binary, or without rows', async () => {
    await expect(read('')).rejects.toThrow(DatasetError);
    await expect(read('\n\n')).rejects.toThrow(/no rows/);
    await expect(read('[]', 'rows.json')).rejects.toThrow(/no rows/);
    await expect(read('PAR1xxxx', 'rows.parquet')).rejects.toThrow(/Parquet/);
    await expect(read('nonsense\nmore', 'rows.jsonl')).rejects.toThrow(/line 1 is not valid JSON at column 1/);
  });

  it('reads the same whatever the pieces it arrives in', async () => {
    const rows = Array.from({ length: 60 }, (_, i) => ({ text: `row ${i} "quoted", [${'é'.repeat(i)}]\n{` + '\\'.repeat(i % 3) }));
    // A file of several megabytes is read in several pieces, which cut rows and characters anywhere.
    const padding = 'ü'.repeat(40_000);
    const long = rows.map((row) => ({ text: row.text + padding }));
    const texts = (dataset: Dataset): string[] => dataset.rows.map((row) => (row.kind === 'text' ? row.text : ''));
    const expected = long.map((row) => row.text);
    expect(texts(await read(jsonl(...long)))).toEqual(expected);
    expect(texts(await read(JSON.stringify(long, null, 1), 'rows.json'))).toEqual(expected);
    const table = `text\r\n${long.map((row) => `"${row.text.replaceAll('"', '""')}"`).join('\r\n')}\r\n`;
    expect(texts(await read(table, 'rows.csv'))).toEqual(expected);
  });

  it('of any bytes at all is read or refused in a sentence, and never hangs', async () => {
    const names = fc.constantFrom('a.jsonl', 'a.json', 'a.csv', 'a.tsv', 'a.txt', 'a');
    const snippet = fc.constantFrom('{"text":', '"a"', '}', ']', '[', ',', '\n', '\r\n', '"', '\\', '{"messages":[{"role":"user","content":"x"}]}', 'text,prompt\n', '\ufeff', '\0', '{', ':', '1e999', '{"input_ids":[1,2]}');
    const content = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.array(fc.oneof(snippet, fc.string({ maxLength: 5 })), { maxLength: 30 }).map((parts) => new TextEncoder().encode(parts.join(''))));
    await fc.assert(
      fc.asyncProperty(content, names, async (bytes, name) => {
        try {
          const dataset = await read(bytes, name);
          expect(dataset.rows.length).toBeGreaterThan(0);
          expect(dataset.rows.length).toBeLessThanOrEqual(dataset.rowCount);
        } catch (error) {
          expect(error).toBeInstanceOf(HoneError);
          expect((error as Error).message.length).toBeGreaterThan(20);
        }
      }),
      { numRuns: 1500 },
    );
  });

  it.skipIf(!shared('datasets/devils-dictionary.jsonl'))("The Devil's Dictionary has 789 chats (skipped without ../shared/datasets)", async () => {
    const dataset = await read(new Uint8Array(readFileSync(shared('datasets/devils-dictionary.jsonl')!)));
    expect([dataset.format, dataset.rowCount, dataset.rows.length]).toEqual(['messages', 789, 789]);
    expect(dataset.problems).toEqual([]);
  });
});

describe('the place of a JSON error', () => {
  it('is found wherever the parser gives up', () => {
    const position = (text: string): [number, number] => [jsonErrorPosition(text).line, jsonErrorPosition(text).column];
    expect(position('{"a": 1,}')).toEqual([1, 9]);
    expect(position('[1 2]')).toEqual([1, 4]);
    expect(position('{"a"\n "b"}')).toEqual([2, 2]);
    expect(position('{"a": "x')).toEqual([1, 7]);
    expect(position('{"a": 01}')).toEqual([1, 8]);
    expect(position('"\\x"')).toEqual([1, 1]);
    expect(position('')).toEqual([1, 1]);
    expect(position('{"a":1} x')).toEqual([1, 9]);
  });

  it('lies inside the text or at its end, for any text that is not JSON, however deep', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('{', '}', '[', ']', ',', ':', '"a"', '1', 'true', ' ', 'x', '"'), { maxLength: 40 }), (parts) => {
        const text = parts.join('');
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        const { line, column } = jsonErrorPosition(text);
        expect(line).toBe(1);
        // Valid text has its "error" where text that is not there would begin.
        if (valid) expect(text.slice(column - 1).trim()).toBe('');
        expect(column).toBeLessThanOrEqual(text.length + 1);
      }),
      { numRuns: 1000 },
    );
    expect(jsonErrorPosition('['.repeat(200_000)).column).toBe(200_001);
  });
});
