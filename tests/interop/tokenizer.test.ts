import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TokenizerSource } from '../../src/core/model';
import { PRE_TOKENIZERS } from '../../src/data/tokenizer/pretokenizers';
import { buildTokenizer } from '../../src/data/tokenizer/tokenizer';
import { exportMergedGguf } from '../../src/exports/gguf-model';
import { openGgufVocabulary } from '../../src/gguf/model';
import { CHECK_TEXT } from '../../src/gguf/pre-tokenizers';
import { vocabulary, vocabularyPath, type VocabularyName } from '../data/vocabularies';
import { fileSource } from '../files';
import { TINY, fileSink, randomModel } from '../fixtures';
import { byteLevelJson, sentencePieceJson } from '../gguf/tokenizer-json';
import { shared } from '../shared';
import { hasLlamaCpp, llamaTokens } from './llama-cpp';

const demo = fileURLToPath(new URL('../../public/demo/', import.meta.url));
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hone-tokenizer-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a model of random weights with this tokenizer; returns the file's path. */
async function modelWith(tokenizer: TokenizerSource, vocab_size: number, encode: (text: string) => number[], name = 'vocabulary'): Promise<string> {
  const model = randomModel({ ...TINY, vocab_size, hidden_size: 32, num_hidden_layers: 1, tie_word_embeddings: true });
  const path = join(folder, `${name}-${vocab_size}.gguf`);
  await exportMergedGguf({ model: { ...model, tokenizer }, name, type: 'F16', encode }, fileSink(path));
  return path;
}

describe.skipIf(!hasLlamaCpp || !shared('tokenizers'))('a tokenizer.json written as GGUF (skipped without node-llama-cpp or ../shared/tokenizers)', () => {
  it.each([
    ['llama-bpe', byteLevelJson],
    ['qwen2', byteLevelJson],
    ['llama-spm', sentencePieceJson],
  ])('%s gives the reference ids in llama.cpp', async (name, toJson) => {
    const { tokenizer: keys } = await openGgufVocabulary(await fileSource(shared(`tokenizers/${name}.gguf`)!));
    const special = { bos_token: keys.tokens[keys.bos_token_id!], eos_token: keys.tokens[keys.eos_token_id!], unk_token: '<unk>' };
    const own = buildTokenizer({ kind: 'gguf', keys });
    const path = await modelWith({ kind: 'huggingface', tokenizer: toJson(keys), config: special }, keys.tokens.length, (text) => own.encode(text));
    const texts = readFileSync(shared(`tokenizers/${name}.gguf.inp`)!, 'utf8').split('\n__ggml_vocab_test__\n');
    const expected = readFileSync(shared(`tokenizers/${name}.gguf.out`)!, 'utf8').trimEnd().split('\n');
    const tokens = await llamaTokens(path, texts);
    expected.forEach((ids, i) => expect(tokens[i]!.join(' '), JSON.stringify(texts[i])).toBe(ids.trim()));
  });
});

describe.skipIf(!hasLlamaCpp || !existsSync(join(demo, 'tokenizer.json')))("the demo model's tokenizer written as GGUF (skipped without node-llama-cpp)", () => {
  it('gives the same ids in llama.cpp as in Hone', async () => {
    const json = (name: string): object => JSON.parse(readFileSync(join(demo, name), 'utf8')) as object;
    const source: TokenizerSource = { kind: 'huggingface', tokenizer: json('tokenizer.json'), config: json('tokenizer_config.json') };
    const own = buildTokenizer(source);
    const path = await modelWith(source, own.vocabSize, (text) => own.encode(text, { parseSpecial: false }));
    const texts = [CHECK_TEXT, 'Hello there! 12 ships.\n\n  Ahoy', 'naïve 🚀 日本'];
    expect(await llamaTokens(path, texts)).toEqual(texts.map((text) => own.encode(text, { parseSpecial: false })));
  });
});

/** Words, marks and spaces on which tokenizers part ways, and any characters at all. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.string({ unit: 'grapheme', maxLength: 8 }),
  fc.array(fc.constantFrom(' ', '\n', '\t', '\r\n', '\u00a0', '\u3000', '\u0085', '\u2028', '\u000b'), { minLength: 1, maxLength: 40 }).map((all) => all.join('')),
  fc.nat(2 ** 40).map(String),
  fc.constantFrom(...' the|don\'t|WE\'LL|I\'\u017f|l\u2019homme|12,345.67|\u0663\u0664|\u00bd\u00b2|\u2167|<b></b>|▁▁the|<0x0A>|Ġthe|http://a.b/?c=d&e'.split('|')),
  fc.constantFrom('👩\u200d👩\u200d👧', '🇩🇪🇫🇷', 'e\u0301\u0302', '한국어', '日本語', 'العربية', 'עִבְרִית', 'हिन्दी', '\u0000', '\ufeff', '\u{e0001}', '\u{10ffff}'),
);

describe.skipIf(!hasLlamaCpp || !shared('tokenizers'))('a model that calls itself Phi-3 (skipped without node-llama-cpp or ../shared/tokenizers)', () => {
  it('loses the white space behind special tokens, as in llama.cpp', async () => {
    const { tokenizer: keys } = await openGgufVocabulary(await fileSource(shared('tokenizers/llama-spm.gguf')!));
    const marks = ['<|user|>', '<|end|>', '<|assistant|>', '<|endoftext|>'];
    const first = keys.tokens.length - marks.length;
    const at = <T>(all: readonly T[], one: (mark: number) => T): T[] => all.map((value, id) => (id >= first ? one(id - first) : value));
    const phi = { ...keys, tokens: at(keys.tokens, (mark) => marks[mark]!), token_type: at(keys.token_type!, () => 3) };
    const path = await modelWith({ kind: 'gguf', keys: phi }, keys.tokens.length, () => [], 'Phi-3 mini');
    const own = buildTokenizer({ kind: 'gguf', keys: (await openGgufVocabulary(await fileSource(path))).tokenizer });
    const texts = ['<|user|>\nHi<|end|>\n<|assistant|>\n', '<s> a</s> b<|end|> \t\n', '<|endoftext|>\nx <unk> y<|end|>', 'a <|user|> <|user|>  b', '<|end|>\u00a0x'];
    const expected = await llamaTokens(path, texts, true);
    texts.forEach((text, i) => expect(own.encode(text), text).toEqual(expected[i]));
    expect(own.encode(texts[0]!)).not.toContain(keys.tokens.indexOf('<0x0A>'));
    const offsets = own.encodeWithOffsets(texts[0]!);
    expect(offsets.ids.map((_, i) => texts[0]!.slice(offsets.starts[i], offsets.ends[i])).filter((cut) => cut !== '')).toEqual(['<|user|>', 'Hi', '<|end|>', '<|assistant|>']);
  });
});

/** One name of each rule: several are the same. */
const rules = [...new Map(Object.entries(PRE_TOKENIZERS).map(([name, rule]) => [JSON.stringify(rule), name])).values()];

describe.skipIf(!hasLlamaCpp || !shared('models'))('the ways to cut text that GGUF files name (skipped without node-llama-cpp or ../shared/models)', () => {
  it.each(rules)('%s cuts as llama.cpp does', async (pre) => {
    const { tokenizer: keys } = await openGgufVocabulary(await fileSource(shared('models/SmolLM2-135M-Instruct.Q4_1.gguf')!));
    const source: TokenizerSource = { kind: 'gguf', keys: { ...keys, pre } };
    const own = buildTokenizer(source);
    const path = await modelWith(source, keys.tokens.length, (text) => own.encode(text));
    const words = fc.array(fc.oneof(hostile, fc.constantFrom(' HelloWorld', 'camelCase', ' ÉCOLE', 'ǅ', '12345', '...//\n', '\n\n  x')), { maxLength: 6 });
    const texts = [CHECK_TEXT, ...fc.sample(words.map((pieces) => pieces.join('').replace(/\p{Surrogate}/gu, '?')), { numRuns: 300, seed: 11 })];
    const expected = await llamaTokens(path, texts);
    texts.forEach((text, i) => expect(own.encode(text, { parseSpecial: false }), JSON.stringify(text)).toEqual(expected[i]));
  });
});

const names: VocabularyName[] = ['qwen2', 'llama-bpe', 'llama-spm', 'smollm2', 'stories', 'gemma-3'];

describe.skipIf(!hasLlamaCpp || !shared('tokenizers'))('texts of all kinds (skipped without node-llama-cpp or ../shared/tokenizers)', () => {
  for (const name of names) {
    const path = shared('tokenizers') && vocabularyPath(name);
    it.skipIf(path === null)(`get the ids that llama.cpp gives with ${name}, special tokens spelled or parsed${path === null ? ' (its file is absent)' : ''}`, async () => {
      const { tokenizer } = await vocabulary(name);
      const special = tokenizer.specialTokens.slice(0, 40);
      const piece = fc.oneof({ weight: 6, arbitrary: hostile }, { weight: 1, arbitrary: fc.constantFrom(...special, ...special.map((token) => token.slice(0, -1))) });
      const texts = fc.sample(fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('').replace(/\p{Surrogate}/gu, '?')), { numRuns: 400, seed: 7 });
      for (const parseSpecial of [false, true]) {
        const expected = await llamaTokens(path!, texts, parseSpecial);
        texts.forEach((text, i) => expect(tokenizer.encode(text, { parseSpecial }), JSON.stringify(text)).toEqual(expected[i]));
      }
    });
  }
});
