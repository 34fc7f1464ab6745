import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { MemorySource } from '../../src/core/bytes';
import { chooseTemplate, type ChosenTemplate } from '../../src/data/chat/templates';
import { readDataset } from '../../src/data/dataset';
import { previewRow } from '../../src/data/summary';
import { tokenizeDataset } from '../../src/data/tokenize';
import { buildTokenizer, type Tokenizer } from '../../src/data/tokenizer/tokenizer';

const demo = (name: string): string => fileURLToPath(new URL(`../../public/demo/${name}`, import.meta.url));
const json = (name: string): Record<string, unknown> => JSON.parse(readFileSync(demo(name), 'utf8')) as Record<string, unknown>;
const script = (name: string): Promise<unknown> => import(/* @vite-ignore */ new URL(`../../scripts/${name}`, import.meta.url).href) as Promise<unknown>;

interface World {
  pretrainingRows(seed: number, count: number): string[];
  finetuningRows(seed: number, count: number): { messages: { role: string; content: string }[] }[];
}

describe("the demo's assets", () => {
  let tokenizer: Tokenizer;
  let template: ChosenTemplate;
  let world: World;
  const options = { max_length: 512, train_on: 'replies' } as const;

  beforeAll(async () => {
    const config = json('tokenizer_config.json');
    tokenizer = buildTokenizer({ kind: 'huggingface', tokenizer: json('tokenizer.json'), config });
    template = chooseTemplate(config.chat_template as string, tokenizer);
    world = (await script('demo-world.mjs')) as World;
  });

  it('are what the scripts make: the data set', () => {
    const rows = readFileSync(demo('dataset.jsonl'), 'utf8').trimEnd().split('\n');
    expect(rows).toEqual(world.finetuningRows(2, 300).map((row) => JSON.stringify(row)));
  });

  it('hold a data set with nothing to complain of, every reply in the captain’s voice', async () => {
    const dataset = await readDataset(new MemorySource(new Uint8Array(readFileSync(demo('dataset.jsonl'))), 'dataset.jsonl'));
    expect([dataset.format, dataset.rows.length, dataset.problems]).toEqual(['messages', 300, []]);
    const { examples, problems } = await tokenizeDataset(dataset, tokenizer, template, options);
    expect([examples.length, problems]).toEqual([300, []]);
    for (const row of dataset.rows) {
      const learned = previewRow(dataset, row.row, tokenizer, template, options)!.tokens.filter((token) => token.trained);
      expect(learned.map((token) => token.text).join('')).toMatch(/^(Arr|Ahoy|Yo ho)! .+, matey!<\|im_end\|>$/);
    }
  });

  it('fit together: one id for every row of the embedding, special tokens at their places', () => {
    const config = json('config.json');
    expect(tokenizer.vocabSize).toBe(config.vocab_size);
    expect(tokenizer.eosId).toBe(config.eos_token_id);
    expect(tokenizer.bosId).toBe(config.bos_token_id);
    expect(tokenizer.addsBos).toBe(false);
    expect(template.name).toBe('model');
  });

  it('speak of the world in short tokens and of anything else in bytes', () => {
    const text = 'The cat lives in the house.';
    expect(tokenizer.encode(text).length).toBeLessThanOrEqual(8);
    const foreign = 'Здравствуй 🫠 {"x": 123}';
    expect(tokenizer.decode(tokenizer.encode(foreign))).toBe(foreign);
    for (const row of world.pretrainingRows(1, 50)) expect(tokenizer.decode(tokenizer.encode(row))).toBe(row);
  });

  it('hold a model of less than two megabytes', () => {
    expect(readFileSync(demo('model.safetensors')).length).toBeLessThan(2_000_000);
  });
});
