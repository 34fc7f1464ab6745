import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { MemorySource } from '../../src/core/bytes';
import { IGNORED, trainedTokens, type Example } from '../../src/core/example';
import { chooseTemplate, DEFAULT_TEMPLATES, type ChosenTemplate } from '../../src/data/chat/templates';
import { readDataset, type Dataset } from '../../src/data/dataset';
import { histogram, previewRow, summarize } from '../../src/data/summary';
import { tokenizeDataset } from '../../src/data/tokenize';
import type { Tokenizer } from '../../src/data/tokenizer/tokenizer';
import { shared } from '../shared';
import { haveVocabularies, vocabulary } from './vocabularies';

const options = { max_length: 256, train_on: 'replies' } as const;

function rows(...items: unknown[]): Promise<Dataset> {
  return readDataset(new MemorySource(new TextEncoder().encode(items.map((item) => JSON.stringify(item)).join('\n')), 'rows.jsonl'));
}

const turn = (question: string, answer: string) => [
  { role: 'user', content: question },
  { role: 'assistant', content: answer },
];

/** The text of the tokens with loss. */
function learned(example: Example, tokenizer: Tokenizer): string {
  return tokenizer.decode([...example.labels].filter((label) => label !== IGNORED));
}

describe.skipIf(!haveVocabularies)('rows as tokens (skipped without ../shared)', () => {
  let smollm: Tokenizer;
  let template: ChosenTemplate;
  beforeAll(async () => {
    const found = await vocabulary('smollm2');
    smollm = found.tokenizer;
    template = chooseTemplate(found.chatTemplate, smollm);
  });

  it('are those that PyTorch was given, with the same labels', async () => {
    const golden = JSON.parse(readFileSync(shared('goldens/training/SmolLM2-135M-Instruct/case.json')!, 'utf8')) as {
      steps: { micro_batches: { input_ids: number[][]; labels: number[][] }[] }[];
    };
    const dataset = await readDataset(new MemorySource(new Uint8Array(readFileSync(shared('datasets/devils-dictionary.jsonl')!)), 'devil.jsonl'));
    const { examples } = await tokenizeDataset(dataset, smollm, template, { ...options, max_length: 4096 });
    const known = new Map(examples.map((example) => [example.input_ids.join(), example]));
    const expected = golden.steps.flatMap((step) => step.micro_batches.flatMap((batch) => batch.input_ids.map((ids, i) => ({ ids, labels: batch.labels[i]! }))));
    expect(expected.length).toBe(12);
    for (const { ids, labels } of expected) {
      // Golden rows are padded to their batch; padding has no labels, and the rendering ends in a line feed without one.
      const length = labels.findLastIndex((label) => label !== IGNORED) + 2;
      const found = known.get(ids.slice(0, length).join());
      expect([...(found?.labels ?? [])]).toEqual(labels.slice(0, length));
    }
  });

  it('carry loss on the replies, the last reply, or everything', async () => {
    const dataset = await rows({ messages: [...turn('Hi', 'Hello'), ...turn('Bye', 'So long')] });
    const texts = [];
    for (const train_on of ['replies', 'last', 'all'] as const) {
      const { examples } = await tokenizeDataset(dataset, smollm, template, { ...options, train_on });
      texts.push(learned(examples[0]!, smollm));
    }
    expect(texts.slice(0, 2)).toEqual(['Hello<|im_end|>So long<|im_end|>', 'So long<|im_end|>']);
    expect(texts[2]).toContain('user\nHi<|im_end|>');
  });

  it('learn only the completion of prompts and instructions, as a chat where the model chats', async () => {
    const dataset = await rows({ instruction: 'Add.', input: '1 + 1', output: '2' });
    const { examples } = await tokenizeDataset(dataset, smollm, template, options);
    expect(learned(examples[0]!, smollm)).toBe('2<|im_end|>');
    expect(smollm.decode([...examples[0]!.input_ids])).toContain('<|im_start|>user\nAdd.\n\n1 + 1<|im_end|>\n<|im_start|>assistant\n2<|im_end|>');
  });

  it('continue the prompt as it stands where the model has no chat marks, and end with EOS', async () => {
    const { tokenizer } = await vocabulary('stories');
    const plain = chooseTemplate(null, tokenizer);
    expect(plain.name).toBe('plain');
    const { examples } = await tokenizeDataset(await rows({ prompt: 'Once upon', completion: ' a time' }), tokenizer, plain, options);
    expect(tokenizer.decode([...examples[0]!.input_ids])).toBe('<s> Once upon a time</s>');
    expect(learned(examples[0]!, tokenizer).trim()).toBe('a time</s>');
    expect([...examples[0]!.input_ids].filter((id) => id === tokenizer.bosId).length).toBe(1);
  });

  it('learn all of a text and its end, with one BOS', async () => {
    const { tokenizer } = await vocabulary('llama-spm');
    const dataset = await rows({ text: 'One day.' }, { text: '<s>One day.</s>' });
    const { examples } = await tokenizeDataset(dataset, tokenizer, chooseTemplate(null, tokenizer), options);
    expect([...examples[0]!.input_ids]).toEqual([...examples[1]!.input_ids]);
    expect(examples[0]!.input_ids[0]).toBe(1);
    expect(examples[0]!.input_ids.at(-1)).toBe(2);
    expect(trainedTokens(examples[0]!)).toBe(examples[0]!.input_ids.length - 1);
  });

  it('never have two BOS, whoever writes the first', async () => {
    const { tokenizer } = await vocabulary('llama-bpe');
    const dataset = await rows({ messages: turn('Hi', 'Hello') });
    const count = async (text: string): Promise<number> => {
      const { examples } = await tokenizeDataset(dataset, tokenizer, { template: text, name: 'model' }, options);
      return [...examples[0]!.input_ids].filter((id) => id === tokenizer.bosId).length;
    };
    expect(await count(DEFAULT_TEMPLATES.llama3)).toBe(1);
    expect(await count(DEFAULT_TEMPLATES.llama3.replace('{{ bos_token }}', ''))).toBe(1);
  });

  it('learn the first word of a reply whose token begins with the space of the header', async () => {
    const { tokenizer } = await vocabulary('llama-spm');
    const mistral = { template: DEFAULT_TEMPLATES.mistral, name: 'model' } as const;
    const { examples } = await tokenizeDataset(await rows({ messages: turn('Hi', 'Hello there') }), tokenizer, mistral, options);
    expect(learned(examples[0]!, tokenizer).trim()).toBe('Hello there</s>');
    const header = { template: DEFAULT_TEMPLATES.mistral.replace("' ' + message", "'= ' + message"), name: 'model' } as const;
    const second = await tokenizeDataset(await rows({ messages: turn('Hi', 'Hello there') }), tokenizer, header, options);
    expect(learned(second.examples[0]!, tokenizer).trim()).toBe('Hello there</s>');
  });

  it('are cut at the end, and dropped with a reason where nothing to learn is left', async () => {
    const dataset = await rows({ messages: turn('Hi', 'word '.repeat(60)) }, { messages: turn('word '.repeat(60), 'Hello') }, { messages: turn('a', 'b') });
    const { examples, lengths, problems } = await tokenizeDataset(dataset, smollm, template, { ...options, max_length: 60 });
    expect(examples.map((example) => [example.row, example.input_ids.length <= 60])).toEqual([[1, true], [3, true]]);
    expect(lengths[0]!.tokens).toBeGreaterThan(60);
    expect(problems).toEqual([
      { severity: 'block', message: '1 row has nothing to learn from within 60 tokens', rows: [2], count: 1 },
      { severity: 'warn', message: '2 rows are longer than 60 tokens and will be cut', rows: [1, 2], count: 2 },
    ]);
    await expect(tokenizeDataset(dataset, smollm, template, { ...options, max_length: 10 })).rejects.toThrow(/nothing to learn from/);
  });

  it('of ready tokens keep their place in a batch though nothing of them is learned', async () => {
    const learned = { input_ids: [5, 6, 7], labels: [-100, 6, 7] };
    const idle = { input_ids: [5, 6], labels: [-100, -100] };
    const { examples, problems } = await tokenizeDataset(await rows(learned, idle), smollm, template, options);
    expect(examples.map(({ row }) => row)).toEqual([1, 2]);
    expect(problems).toEqual([{ severity: 'warn', message: '1 row has nothing to learn from', rows: [2], count: 1 }]);
    await expect(tokenizeDataset(await rows(idle, idle), smollm, template, options)).rejects.toThrow(/nothing to learn from/);
  });

  it('name the rows that a template refuses', async () => {
    const strict = { template: "{% if messages[0].role == 'system' %}{{ raise_exception('No system messages') }}{% endif %}" + DEFAULT_TEMPLATES.chatml, name: 'model' } as const;
    const dataset = await rows({ messages: turn('a', 'b') }, { messages: [{ role: 'system', content: 's' }, ...turn('c', 'd')] });
    const { examples, problems } = await tokenizeDataset(dataset, smollm, strict, options);
    expect(examples.length).toBe(1);
    expect(problems[0]).toMatchObject({ severity: 'block', rows: [2], count: 1 });
    expect(problems[0]!.message).toContain('No system messages');
  });

  it('taken as ready tokens are checked against the vocabulary', async () => {
    const dataset = await rows({ input_ids: [1, 2, 3], labels: [-100, -100, 3] }, { input_ids: [1, 99] }, { input_ids: [1, 2], labels: [-100, -100] });
    const { examples, problems } = await tokenizeDataset(dataset, null, template, { ...options, vocab_size: 50 });
    expect(examples[0]).toEqual({ row: 1, input_ids: Int32Array.of(1, 2, 3), labels: Int32Array.of(-100, -100, 3) });
    expect(examples.map(({ row }) => row)).toEqual([1, 3]);
    expect(problems.map((problem) => problem.rows)).toEqual([[2], [3]]);
    expect(problems[0]!.message).toContain('token 99 is outside');
  });

  it('are summed up and shown token by token', async () => {
    const dataset = await rows({ messages: turn('Hi', 'Hello 🫠 you') }, { nothing: 1 }, { messages: turn('a', 'b') });
    const tokenized = await tokenizeDataset(dataset, smollm, template, options);
    const figures = summarize(dataset, tokenized, options.max_length);
    expect([figures.format, figures.rows, figures.usable, figures.tooLong, figures.firstRow]).toEqual(['messages', 3, 2, 0, 1]);
    expect(figures.tokens.total).toBe(tokenized.examples.reduce((sum, example) => sum + example.input_ids.length, 0));
    expect(figures.histogram.counts.reduce((sum, count) => sum + count, 0)).toBe(2);
    expect(figures.problems[0]!.rows).toEqual([2]);
    const preview = previewRow(dataset, 1, smollm, template, options)!;
    expect(preview.tokens.map((token) => token.text).join('')).toBe(smollm.decode([...tokenized.examples[0]!.input_ids]));
    expect(preview.tokens.filter((token) => token.trained).map((token) => token.text).join('')).toBe('Hello 🫠 you<|im_end|>');
    expect(preview.trained).toBe(tokenized.lengths[0]!.trained);
    expect(preview.tokens[0]).toMatchObject({ text: '<|im_start|>', special: true, trained: false });
    expect(previewRow(dataset, 1, smollm, template, { ...options, max_length: 5 })).toMatchObject({ cut: true, trained: 0 });
    expect(previewRow(dataset, 2, smollm, template, options)).toBeNull();
  });
});

describe('a histogram', () => {
  it('has round bins that hold every size once', () => {
    expect(histogram([3, 4, 4, 23])).toEqual({ edges: Array.from({ length: 25 }, (_, i) => i), counts: [0, 0, 0, 1, 2, ...new Array<number>(18).fill(0), 1] });
    const { edges, counts } = histogram([1, 50, 51, 999, 1000]);
    expect(edges[1]).toBe(50);
    expect(counts[0]).toBe(1);
    expect(counts[1]).toBe(2);
    expect(counts.at(-1)).toBe(1);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(5);
    expect(histogram([])).toEqual({ edges: [0, 1], counts: [0] });
  });
});
