import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TokenizerSource } from '../../src/core/model';
import { buildTokenizer } from '../../src/data/tokenizer/tokenizer';
import { exportMergedGguf } from '../../src/exports/gguf-model';
import { openGgufVocabulary } from '../../src/gguf/model';
import { CHECK_TEXT } from '../../src/gguf/pre-tokenizers';
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
async function modelWith(tokenizer: TokenizerSource, vocab_size: number, encode: (text: string) => number[]): Promise<string> {
  const model = randomModel({ ...TINY, vocab_size, hidden_size: 32, num_hidden_layers: 1, tie_word_embeddings: true });
  const path = join(folder, `${vocab_size}.gguf`);
  await exportMergedGguf({ model: { ...model, tokenizer }, name: 'vocabulary', type: 'F16', encode }, fileSink(path));
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
