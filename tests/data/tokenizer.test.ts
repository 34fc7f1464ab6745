import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { shared } from '../shared';
import { haveVocabularies, vocabulary, vocabularyPath } from './vocabularies';

const names = ['llama-bpe', 'llama-spm', 'qwen2', 'smollm2', 'gemma-3'] as const;

/** Gemma's file is no reference data but a model of its own, which may be absent. */
const available = (name: (typeof names)[number]): boolean => haveVocabularies && vocabularyPath(name) !== null;
const without = (name: (typeof names)[number]): string => (name === 'gemma-3' ? ' (skipped without the Gemma 3 270M GGUF)' : '');

describe.skipIf(!haveVocabularies)('tokenizers rebuilt from GGUF keys (skipped without ../shared/tokenizers)', () => {
  for (const name of names) {
    it.skipIf(!available(name))(`gives llama.cpp's ids with ${name}${without(name)}`, async () => {
      const { tokenizer } = await vocabulary(name);
      const texts = readFileSync(shared(`tokenizers/${name}.gguf.inp`)!, 'utf8').split('\n__ggml_vocab_test__\n');
      const lines = readFileSync(shared(`tokenizers/${name}.gguf.out`)!, 'utf8').trimEnd().split('\n');
      expect(lines.length).toBeGreaterThan(40);
      lines.forEach((line, i) => {
        const ids = line.trim() === '' ? [] : line.trim().split(/\s+/).map(Number);
        expect(tokenizer.encode(texts[i]!, { parseSpecial: false }), JSON.stringify(texts[i])).toEqual(ids);
      });
    });

    it.skipIf(!available(name))(`decodes what it encoded and places every token with ${name}${without(name)}`, async () => {
      const { tokenizer } = await vocabulary(name);
      const piece = fc.oneof(
        fc.string({ unit: 'grapheme', maxLength: 12 }),
        fc.constantFrom(' ', '  ', '\n', '\n\n', '\t', 'é', 'é', '한국어', '🙂', '👩‍👩‍👧', '’', '½', '٣', '123456', 'the', ' the', "'s", '<0x0A>', '▁'),
      );
      fc.assert(
        fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
          const text = pieces.join('');
          const { ids, starts, ends } = tokenizer.encodeWithOffsets(text);
          // SentencePiece spells a space and "▁" alike.
          const spaced = name === 'llama-spm' || name === 'gemma-3' ? text.replaceAll('▁', ' ') : text;
          expect(tokenizer.decode(ids)).toBe(spaced);
          expectCover(text, starts, ends);
        }),
        { numRuns: 300 },
      );
    });
  }
});

describe.skipIf(!haveVocabularies)('special tokens (skipped without ../shared/models)', () => {
  it('are parsed, spelled out, or put around the text as asked', async () => {
    const { tokenizer } = await vocabulary('smollm2');
    const end = tokenizer.tokenId('<|im_end|>')!;
    expect(tokenizer.encode('Hi<|im_end|>\n')).toEqual([...tokenizer.encode('Hi'), end, ...tokenizer.encode('\n')]);
    const spelled = tokenizer.encode('Hi<|im_end|>', { parseSpecial: false });
    expect(spelled).not.toContain(end);
    expect(tokenizer.decode(spelled)).toBe('Hi<|im_end|>');
    expect(tokenizer.decode(tokenizer.encode('Hi<|im_end|>'), { skipSpecial: true })).toBe('Hi');
    expect(tokenizer.isSpecial(end)).toBe(true);
    expect(tokenizer.addsBos).toBe(false);
    expect(tokenizer.bosToken).toBe('<|im_start|>');
  });

  it('put a BOS in front where the file or its kind says so', async () => {
    const llama3 = (await vocabulary('llama-bpe')).tokenizer;
    expect(llama3.encode('Hi', { addSpecial: true })[0]).toBe(128000);
    const llama2 = (await vocabulary('llama-spm')).tokenizer;
    const { ids, starts, ends } = llama2.encodeWithOffsets(' Hi', { addSpecial: true });
    expect([ids[0], starts[0], ends[0]]).toEqual([1, 0, 0]);
    expect(starts[1]).toBe(0);
    expect(ends.at(-1)).toBe(3);
    expect(llama2.encode('Hi')).not.toContain(1);
  });

  it('start a new word in SentencePiece, whose invented space belongs to no character', async () => {
    const { tokenizer } = await vocabulary('llama-spm');
    const { ids, starts, ends } = tokenizer.encodeWithOffsets('Yes</s> no</s>no');
    const cut = ids.map((_, i) => 'Yes</s> no</s>no'.slice(starts[i], ends[i]));
    expect(cut.join('|')).toBe('Yes|</s>|| no|</s>|no');
    expect(tokenizer.token(ids[2]!)).toBe('▁');
  });

  it('read halves of surrogate pairs as U+FFFD, each in its place', async () => {
    const { tokenizer } = await vocabulary('llama-spm');
    const text = 'a\ud800b🙂\udc00';
    const { ids, starts, ends } = tokenizer.encodeWithOffsets(text);
    expect(ids).toEqual(tokenizer.encode('a\ufffdb🙂\ufffd'));
    expectCover(text, starts, ends);
  });

  it('arrive as text only when a character is whole', async () => {
    const { tokenizer } = await vocabulary('llama-bpe');
    const ids = tokenizer.encode('a🫠b');
    const decoder = tokenizer.decoder();
    const pieces = ids.map((id) => decoder.push(id));
    expect(pieces.filter((piece) => piece === '').length).toBeGreaterThan(0);
    expect(pieces.join('')).not.toContain('�');
    expect(pieces.join('') + decoder.end()).toBe('a🫠b');
    const cut = tokenizer.decoder();
    expect(ids.slice(0, 2).map((id) => cut.push(id)).join('') + cut.end()).toBe('a�');
  });
});

/** Tokens cover the text in order and without gaps; only parts of one character overlap. */
function expectCover(text: string, starts: number[], ends: number[]): void {
  let reached = 0;
  starts.forEach((start, i) => {
    expect(start).toBeLessThanOrEqual(reached);
    if (start < reached) expect(Array.from(text.slice(start, reached)).length).toBe(1);
    expect(ends[i]).toBeGreaterThanOrEqual(start);
    reached = Math.max(reached, ends[i]!);
  });
  expect(reached).toBe(text.length);
}
