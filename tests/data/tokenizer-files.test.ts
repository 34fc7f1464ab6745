import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { buildTokenizer } from '../../src/data/tokenizer/tokenizer';
import { tokenizerFiles } from '../../src/data/tokenizer/tokenizer-files';
import { openGgufVocabulary } from '../../src/gguf/model';
import { fileSource } from '../files';
import { TINY, randomModel } from '../fixtures';
import { shared } from '../shared';
import { vocabularyPath, type VocabularyName } from './vocabularies';

const names: VocabularyName[] = ['qwen2', 'llama-bpe', 'llama-spm', 'smollm2', 'gemma-3'];

describe("a GGUF file's tokenizer as the files of a Hugging Face folder", () => {
  for (const name of names) {
    const path = shared('tokenizers') && vocabularyPath(name);
    it.skipIf(path === null)(`${name} gives the reference ids${path === null ? ' (skipped without ../shared or its file)' : ''}`, async () => {
      const { tokenizer: keys } = await openGgufVocabulary(await fileSource(path!));
      const { json, config } = tokenizerFiles({ kind: 'gguf', keys })!;
      const tokenizer = buildTokenizer({ kind: 'huggingface', tokenizer: JSON.parse(JSON.stringify(json)) as object, config });
      const own = buildTokenizer({ kind: 'gguf', keys });
      const texts = readFileSync(shared(`tokenizers/${name}.gguf.inp`)!, 'utf8').split('\n__ggml_vocab_test__\n');
      const expected = readFileSync(shared(`tokenizers/${name}.gguf.out`)!, 'utf8').trimEnd().split('\n');
      expected.forEach((ids, i) => expect(tokenizer.encode(texts[i]!, { parseSpecial: false }).join(' '), JSON.stringify(texts[i])).toBe(ids.trim()));
      expect([tokenizer.bosId, tokenizer.eosId, tokenizer.addsBos]).toEqual([own.bosId, own.eosId, own.addsBos]);
      expect(tokenizer.encode('hello', { addSpecial: true })).toEqual(own.encode('hello', { addSpecial: true }));
    });
  }

  it('are none for a tokenizer that came as files, and for kinds without such a form', () => {
    expect(tokenizerFiles({ kind: 'huggingface', tokenizer: {}, config: {} })).toBeNull();
    expect(tokenizerFiles(null)).toBeNull();
    const source = randomModel(TINY).tokenizer!;
    if (source.kind === 'gguf') expect(tokenizerFiles({ kind: 'gguf', keys: { ...source.keys, model: 't5' } })).toBeNull();
  });
});
