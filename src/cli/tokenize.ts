import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { TokenizerError } from '../core/errors';
import type { TokenizerSource } from '../core/model';
import { buildTokenizer } from '../data/tokenizer/tokenizer';
import { openGgufVocabulary } from '../gguf/model';
import { readArguments, required } from './arguments';
import { filesOf, openModelPath } from './files';

/** `hone tokenize`: a JSON array of ids, or with --split an array of arrays. */
export async function tokenize(args: string[]): Promise<void> {
  const { values, positionals } = readArguments(
    args,
    { model: { type: 'string' }, 'parse-special': { type: 'boolean' }, split: { type: 'string' } },
    { least: 1, most: 1, names: 'FILE, or - for standard input' },
  );
  const tokenizer = buildTokenizer(await tokenizerSource(required(values.model, 'model')));
  const [path] = positionals as [string];
  const content = path === '-' ? await text(process.stdin) : await readFile(path, 'utf8');
  const encode = (part: string): number[] => tokenizer.encode(part, { parseSpecial: values['parse-special'] ?? false });
  const ids = values.split === undefined ? encode(content) : content.split(unescape(values.split)).map(encode);
  console.log(JSON.stringify(ids));
}

/** `\n`, `\t` and `\\` as a shell hands them over. */
function unescape(separator: string): string {
  return separator.replace(/\\([nt\\])/g, (_, letter: string) => ({ n: '\n', t: '\t', '\\': '\\' })[letter]!);
}

async function tokenizerSource(path: string): Promise<TokenizerSource> {
  const files = await filesOf(path);
  if (files.length === 1 && path.endsWith('.gguf')) return { kind: 'gguf', keys: (await openGgufVocabulary(files[0]!)).tokenizer };
  const { tokenizer, name } = await openModelPath(path);
  if (!tokenizer) throw new TokenizerError(`${name} has no tokenizer; put its tokenizer.json beside the weights.`);
  return tokenizer;
}
