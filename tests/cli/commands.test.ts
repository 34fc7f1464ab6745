import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { peftFiles } from '../../src/exports/peft';
import { fileSink, randomAdapter } from '../fixtures';
import { ODD, tinyDataset, tinyModelFile } from '../workers/tiny-model';
import { hone, scratch } from './command';

describe('the hone command, without a GPU', () => {
  const { folder, clear } = scratch();
  const at = (name: string): string => join(folder, name);
  const recipe = (changes: object): string => {
    const path = at('recipes/recipe.json');
    writeFileSync(path, JSON.stringify({ model: 'odd.gguf', dataset: { path: 'rows.jsonl' }, training: { max_length: 96 }, ...changes }));
    return path;
  };

  beforeAll(async () => {
    mkdirSync(at('recipes'));
    mkdirSync(at('adapter'));
    writeFileSync(at('recipes/odd.gguf'), new Uint8Array(await (await tinyModelFile()).arrayBuffer()));
    writeFileSync(at('recipes/rows.jsonl'), tinyDataset(20));
    const adapter = randomAdapter(ODD, { r: 3 });
    for (const { name, write } of peftFiles({ adapter, card: { name: 'x', baseModel: 'odd', facts: [] } })) await write(fileSink(at(`adapter/${name}`)));
    // The first command of all builds the command itself.
    expect((await hone('--help')).stdout).toMatch(/^Usage: npx hone COMMAND/);
  });
  afterAll(clear);

  it('says what a model, an adapter and a data set are', async () => {
    const model = await hone('inspect', at('recipes/odd.gguf'));
    expect(model.code, model.stderr).toBe(0);
    expect(model.stdout).toMatch(/^architecture +llama$/m);
    expect(model.stdout).toMatch(/^layers +2 of 30, feed-forward 44, 3 heads of 10, 1 for keys and values$/m);
    expect((await hone('inspect', at('adapter'))).stdout).toMatch(/^rank +3, alpha 8/m);
    expect((await hone('inspect', at('recipes/rows.jsonl'))).stdout).toMatch(/^rows\.jsonl: messages, 20 rows, 20 of them can be used$/m);
  });

  it('counts a data set in tokens and shows what of a row is learned', async () => {
    const { stdout } = await hone('data', at('recipes/rows.jsonl'), '--model', at('recipes/odd.gguf'), '--row', '2');
    expect(stdout).toMatch(/^\d+ tokens, \d+ of them trained on/m);
    expect(stdout).toContain('[I][t][ ][i][s]');
  });

  it('ends with one line and code 1 where a person can act, and with code 2 where the command is wrong', async () => {
    const absent = await hone('inspect', at('nothing'));
    expect(absent).toMatchObject({ code: 1, stdout: '' });
    expect(absent.stderr.trim()).toMatch(/^ModelError: .*nothing does not exist; check the path\.$/);
    const unknown = await hone('frobnicate');
    expect(unknown.code).toBe(2);
    expect(unknown.stderr.trim()).toBe('UsageError: there is no command "frobnicate"; "npx hone --help" lists them.');
    const option = await hone('train', 'x.json', '--oot', 'y');
    expect(option.code).toBe(2);
    expect(option.stderr).toMatch(/^UsageError: .*--oot/);
  });

  it.each<[string, object, RegExp]>([
    ['a field that is not in the schema', { lora: { rank: 4 } }, /^RecipeError: lora: .*rank/],
    ['a length past the context', { training: { max_length: 4096 } }, /^RecipeError: training\.max_length is 4096 and odd was made for 192 tokens; choose 192 or less\./],
    ['a data set that is not there', { dataset: { path: 'none.jsonl' } }, /^StorageError: .*none\.jsonl does not exist/],
    ['a data set other than the one it was made with', { dataset: { path: 'rows.jsonl', sha256: 'a'.repeat(64) } }, /^RecipeError: dataset\.sha256 is a+, and .* has [0-9a-f]{64}/],
    ['an adapter of another rank to start from', { lora: { r: 4, init_adapter: '../adapter' } }, /^RecipeError: lora\.r is 4, and lora\.init_adapter \(\.\.\/adapter\) has 3/],
    ['tokens outside the vocabulary', { dataset: { path: 'wild.jsonl' } }, /^DatasetError: wild\.jsonl has nothing to learn from: .*token 9999 is outside the model's vocabulary of 261/],
  ])('refuses a recipe with %s before anything is taken', async (_, changes, sentence) => {
    writeFileSync(at('recipes/wild.jsonl'), '{"input_ids":[1,9999,3],"labels":[1,9999,3]}\n');
    const { code, stderr } = await hone('train', recipe(changes), '--out', at('out'));
    expect(code).toBe(1);
    expect(stderr.trim()).toMatch(sentence);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  it('refuses a recipe that is not JSON', async () => {
    writeFileSync(at('recipes/broken.json'), '{"model": ');
    const { code, stderr } = await hone('train', at('recipes/broken.json'), '--out', at('out'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^RecipeError: .*broken\.json is not JSON/);
  });

  it('exports an adapter merged into its base, as GGUF that it can read again', async () => {
    const { code, stdout, stderr } = await hone('export', at('adapter'), '--base', at('recipes/odd.gguf'), '--to', 'gguf', '--type', 'q8_0', '--out', at('merged.gguf'));
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^Ollama: add:$/m);
    expect((await hone('inspect', at('merged.gguf'))).stdout).toMatch(/^tokenizer +gpt2 \(gpt-2\), 261 tokens$/m);
  });
});
