import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { GgufTokenizerKeys } from '../../src/core/model';
import { buildTokenizer } from '../../src/data/tokenizer/tokenizer';
import { openGgufVocabulary } from '../../src/gguf/model';
import { CHECK_TEXT, preTokenizerName } from '../../src/gguf/pre-tokenizers';
import { addTokenizerKeys, ggufTokenizer } from '../../src/gguf/tokenizer-keys';
import type { GgufMetadata } from '../../src/gguf/writer';
import { fileSource } from '../files';
import { shared } from '../shared';
import { PRE_TOKENIZERS, byteLevelJson, sentencePieceJson } from './tokenizer-json';

const byteLevel = ['tokenizers/qwen2.gguf', 'tokenizers/llama-bpe.gguf', 'models/SmolLM2-135M-Instruct.Q4_1.gguf'];
const haveAll = shared('tokenizers/qwen2.gguf') !== null;

async function keysOf(path: string): Promise<GgufTokenizerKeys> {
  return (await openGgufVocabulary(await fileSource(shared(path)!))).tokenizer;
}

describe.skipIf(!haveAll)('tokenizer.json of real vocabularies (skipped without ../shared/tokenizers)', () => {
  it.each(byteLevel)("%s: tokens, types, merges and pre-tokenizer are the file's own, the last by the converter's hash", async (path) => {
    const keys = await keysOf(path);
    const tokenizer = buildTokenizer({ kind: 'gguf', keys });
    const json = byteLevelJson(keys) as { pre_tokenizer: unknown };
    const encode = (text: string): number[] => tokenizer.encode(text);
    // Without the splitting expression only the hash can tell.
    expect(preTokenizerName({ ...json, pre_tokenizer: null }, encode)).toBe(keys.pre);
    const config = { bos_token: keys.tokens[keys.bos_token_id!], eos_token: { content: keys.tokens[keys.eos_token_id!] } };
    const made = ggufTokenizer({ kind: 'huggingface', tokenizer: json, config }, keys.tokens.length + 3, encode);
    expect(made.model).toBe('gpt2');
    expect(made.tokens.slice(0, -3)).toEqual(keys.tokens);
    expect(made.tokens.at(-1)).toBe(`[PAD${keys.tokens.length + 2}]`);
    expect(made.token_type?.slice(0, -3)).toEqual(keys.token_type);
    expect(made.token_type?.at(-1)).toBe(5);
    expect(made.merges).toEqual(keys.merges);
    expect(made.bos_token_id).toBe(keys.bos_token_id);
    expect(made.eos_token_id).toBe(keys.eos_token_id);
  });

  it.each(byteLevel)('%s: gives the same ids as its tokenizer.json, for white space and numbers of all scripts too', async (path) => {
    const keys = await keysOf(path);
    const json = buildTokenizer({ kind: 'huggingface', tokenizer: byteLevelJson(keys), config: {} });
    const own = buildTokenizer({ kind: 'gguf', keys });
    for (const text of [CHECK_TEXT, "a\u0085b \u0085's", '\ufeffa  \ufeff b', ' ½ ١٢٣ Ⅷ12', 'x\u00a0\u2003\u3000y']) {
      expect(json.encode(text), JSON.stringify(text)).toEqual(own.encode(text));
    }
  });

  it('the check text is the one that the reference vectors end with', () => {
    const texts = readFileSync(shared('tokenizers/qwen2.gguf.inp')!, 'utf8').split('\n__ggml_vocab_test__\n');
    expect(texts).toContain(CHECK_TEXT);
  });

  it('a SentencePiece vocabulary keeps its order of merging', async () => {
    const keys = await keysOf('tokenizers/llama-spm.gguf');
    const config = { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' };
    const made = ggufTokenizer({ kind: 'huggingface', tokenizer: sentencePieceJson(keys), config }, keys.tokens.length, null);
    expect(made).toMatchObject({ model: 'llama', pre: 'default', merges: null, add_space_prefix: true, add_bos_token: true, unknown_token_id: 0 });
    expect(made.tokens).toEqual(keys.tokens);
    expect(made.token_type).toEqual(keys.token_type);
    const rebuilt = buildTokenizer({ kind: 'gguf', keys: made });
    const original = buildTokenizer({ kind: 'gguf', keys });
    for (const text of readFileSync(shared('tokenizers/llama-spm.gguf.inp')!, 'utf8').split('\n__ggml_vocab_test__\n')) {
      expect(rebuilt.encode(text), text).toEqual(original.encode(text));
    }
  });
});

const tiny = {
  model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'] },
  pre_tokenizer: PRE_TOKENIZERS['smollm'],
  added_tokens: [
    { id: 3, content: '<s>', special: true },
    { id: 4, content: '<|im_end|>', special: true },
    { id: 6, content: '<tool>', special: false },
  ],
  post_processor: { type: 'Sequence', processors: [{ type: 'TemplateProcessing', single: [{ SpecialToken: { id: '<s>' } }, { Sequence: { id: 'A' } }] }] },
};

describe('a tokenizer.json of a vocabulary of its own', () => {
  it.each(Object.keys(PRE_TOKENIZERS))('is recognised as %s by its splitting expression', (name) => {
    expect(preTokenizerName({ pre_tokenizer: PRE_TOKENIZERS[name] }, () => [1, 2, 3])).toBe(name);
  });

  it('gives every key, holes and padding filled', () => {
    const keys = ggufTokenizer({ kind: 'huggingface', tokenizer: tiny, config: { bos_token: '<s>', eos_token: '<|im_end|>' } }, 8, null);
    expect(keys).toEqual({
      model: 'gpt2',
      pre: 'smollm',
      tokens: ['a', 'b', 'ab', '<s>', '<|im_end|>', '[PAD5]', '<tool>', '[PAD7]'],
      token_type: [1, 1, 1, 3, 3, 5, 4, 5],
      scores: null,
      merges: ['a b'],
      bos_token_id: 3,
      eos_token_id: 4,
      eot_token_id: 4,
      unknown_token_id: null,
      padding_token_id: null,
      add_bos_token: true,
      add_eos_token: false,
      add_space_prefix: null,
    });
  });

  it("writes Gemma's runs of spaces as spaces, which llama.cpp finds in texts and prints", () => {
    const gemma = {
      model: { type: 'BPE', vocab: { '<unk>': 0, '▁': 1, '▁a': 2, '▁▁': 3 }, merges: ['▁ a', '▁ ▁'], byte_fallback: true },
      normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      added_tokens: [{ id: 0, content: '<unk>', special: true }, { id: 3, content: '▁▁', special: false }],
    };
    const keys = ggufTokenizer({ kind: 'huggingface', tokenizer: gemma, config: {} }, 4, null);
    expect(keys).toMatchObject({ model: 'llama', tokens: ['<unk>', '▁', '▁a', '  '], token_type: [2, 1, 1, 4], add_space_prefix: false });
  });

  it('is refused where llama.cpp has no name for how it splits, or the embedding is too small', () => {
    const odd = { ...tiny, pre_tokenizer: { type: 'Whitespace' } };
    expect(() => ggufTokenizer({ kind: 'huggingface', tokenizer: odd, config: {} }, 8, () => [1])).toThrow('has no name for');
    expect(() => ggufTokenizer({ kind: 'huggingface', tokenizer: tiny, config: {} }, 6, null)).toThrow('<tool> has the id 6, and the embedding has 6 rows');
    expect(() => ggufTokenizer({ kind: 'huggingface', tokenizer: { model: { type: 'WordPiece' } }, config: {} }, 8, null)).toThrow('of type WordPiece');
  });

  it('never writes a token twice, which would stop llama.cpp', () => {
    const keys = ggufTokenizer({ kind: 'huggingface', tokenizer: tiny, config: {} }, 8, null);
    const metadata: GgufMetadata = new Map();
    addTokenizerKeys(metadata, { ...keys, tokens: ['a', 'a', 'b'] }, 'template');
    expect(metadata.get('tokenizer.ggml.tokens')?.value).toEqual(['a', '[PAD1]', 'b']);
    expect(metadata.get('tokenizer.chat_template')?.value).toBe('template');
    expect(metadata.has('tokenizer.ggml.bos_token_id')).toBe(false);
  });
});
