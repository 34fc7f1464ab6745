import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Adapter } from '../../src/core/adapter';
import { MemorySource } from '../../src/core/bytes';
import { exportGgufAdapter } from '../../src/exports/gguf-adapter';
import { peftFiles } from '../../src/exports/peft';
import { openGguf } from '../../src/gguf/model';
import { fileSink, randomAdapter, writtenFiles } from '../fixtures';
import { hone, scratch } from '../cli/command';
import { referenceLogits } from '../reference/decoder';
import { ODD, tinyModelFile } from '../workers/tiny-model';

const IDS = [3, 77, 120, 10];
const first = randomAdapter(ODD, { r: 3, strength: 0.1 });
const second = randomAdapter(ODD, { r: 2, seed: 9, strength: 0.1, target_modules: ['v_proj', 'up_proj'] });
const dora = randomAdapter(ODD, { r: 2, seed: 4, use_dora: true, target_modules: ['down_proj'] });

describe('adapters on the command line', () => {
  const { folder, clear } = scratch();
  const at = (name: string): string => join(folder, name);
  const model = at('odd.gguf');

  async function writePeft(name: string, adapter: Adapter): Promise<void> {
    mkdirSync(at(name));
    for (const file of await writtenFiles(peftFiles({ adapter, card: { name, baseModel: 'org/odd', facts: [] } }))) {
      writeFileSync(join(at(name), file.name), await file.read(0, file.size));
    }
  }

  beforeAll(async () => {
    writeFileSync(model, new Uint8Array(await (await tinyModelFile()).arrayBuffer()));
    await writePeft('first', first);
    await writePeft('dora', dora);
    await exportGgufAdapter({ adapter: second, config: ODD, name: 'second' }, fileSink(at('second.gguf')));
  });
  afterAll(clear);

  /** The command's logits after IDS, by id. */
  async function logits(...adapters: string[]): Promise<Float64Array> {
    const { code, stdout, stderr } = await hone('logits', '--model', model, '--ids', IDS.join(','), '--top', String(ODD.vocab_size), '--json', ...adapters);
    expect(code, stderr).toBe(0);
    const row = new Float64Array(ODD.vocab_size);
    for (const [id, logit] of (JSON.parse(stdout) as { top: [number, number][] }).top) row[id] = logit;
    return row;
  }

  const largest = (a: Float64Array, b: Float64Array): number => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);
  async function reference(adapter?: Adapter): Promise<Float64Array> {
    const base = await openGguf(new MemorySource(new Uint8Array(readFileSync(model))));
    return (await referenceLogits(base, IDS, adapter)).at(-1)!;
  }

  it('act as PEFT folders and as GGUF files, and not at all at a scale of 0', async () => {
    // f32 through two layers.
    expect(largest(await logits('--adapter', at('first')), await reference(first))).toBeLessThan(2e-4);
    expect(largest(await logits('--adapter', at('second.gguf')), await reference(second))).toBeLessThan(2e-4);
    expect(largest(await logits('--adapter', at('dora')), await reference(dora))).toBeLessThan(2e-4);
    expect(await logits('--adapter', at('first'), '--adapter-scale', '0')).toEqual(await logits());
  });

  it('act together as one adapter does that they were merged into', async () => {
    const merged = await hone('merge-adapters', at('first'), at('second.gguf'), '--weights', '0.5,2', '--base', model, '--out', at('merged'));
    expect(merged.code, merged.stderr).toBe(0);
    expect(merged.stdout).toContain('rank 5');
    const asGguf = await hone('merge-adapters', at('first'), at('second.gguf'), '--weights', '0.5,2', '--base', model, '--out', at('merged.gguf'));
    expect(asGguf.code, asGguf.stderr).toBe(0);
    const together = await logits('--adapter', at('first'), '--adapter-scale', '0.5', '--adapter', at('second.gguf'), '--adapter-scale=2');
    // The same sums in another order, B rounded once more.
    for (const out of ['merged', 'merged.gguf']) expect(largest(await logits('--adapter', at(out)), together), out).toBeLessThan(2e-4);
    expect(largest(together, await logits())).toBeGreaterThan(0.01);
    expect(JSON.parse(readFileSync(at('merged/adapter_config.json'), 'utf8'))).toMatchObject({ base_model_name_or_path: 'org/odd', r: 5 });
  });

  it('are told by what they are, and refused in one line where the command or the adapter cannot be followed', async () => {
    expect((await hone('inspect', at('second.gguf'))).stdout).toMatch(/^projections +v_proj, up_proj$/m);
    expect((await hone('inspect', at('dora'))).stdout).toMatch(/^kind +DoRA$/m);
    const cases: [string[], number, RegExp][] = [
      [['logits', '--model', model, '--ids', '1', '--adapter-scale', '2', '--adapter', at('first')], 2, /^UsageError: --adapter-scale belongs after the --adapter/],
      [['logits', '--model', model, '--ids', '1', '--adapter', at('nothing')], 1, /^ModelError: .*nothing does not exist; give a GGUF adapter or the folder of a PEFT adapter\./],
      [['merge-adapters', at('first'), at('second.gguf'), '--out', at('x')], 2, /^UsageError: A GGUF adapter .* give the base with --base\./],
      [['merge-adapters', at('first'), '--weights', '1,2', '--out', at('x')], 2, /^UsageError: --weights is "1,2"; give 1 numbers/],
      [['merge-adapters', at('first'), at('dora'), '--out', at('x')], 1, /^ExportError: .*dora is a DoRA/],
    ];
    for (const [args, code, sentence] of cases) {
      const result = await hone(...args);
      expect(result.stderr.trim(), args.join(' ')).toMatch(sentence);
      expect(result.code).toBe(code);
      expect(result.stderr.trim().split('\n')).toHaveLength(1);
    }
  });
});
