import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Adapter } from '../../src/core/adapter';
import type { ModelSource } from '../../src/core/model';
import { exportGgufAdapter } from '../../src/exports/gguf-adapter';
import { exportMergedGguf } from '../../src/exports/gguf-model';
import { openGguf } from '../../src/gguf/model';
import { fileSource } from '../files';
import { fileSink, randomAdapter } from '../fixtures';
import { meanKl } from '../reference/decoder';
import { shared } from '../shared';
import { engineLogits } from './engine';
import { hasLlamaCpp, llamaLogitsOf, llamaTokens } from './llama-cpp';

const file = shared('models/SmolLM2-135M-Instruct.Q4_1.gguf');
const can = Boolean(file) && hasLlamaCpp;
/** "<|im_start|>user\nDefine …" and so on: the start of a conversation of the golden run. */
const IDS = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2];

describe.skipIf(!can)('SmolLM2-135M from its Q4_1 file (skipped without ../shared/models or node-llama-cpp)', () => {
  let folder = '';
  let model: ModelSource;
  let adapter: Adapter;
  let engine: Float32Array[];
  let base: Float32Array[];
  let merged = '';
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hone-smollm2-'));
    model = await openGguf(await fileSource(file!));
    adapter = randomAdapter(model.config, { r: 8, strength: 0.04 });
    engine = await engineLogits(model, IDS, adapter);
    base = await engineLogits(model, IDS);
    merged = join(folder, 'merged.gguf');
    await exportMergedGguf({ model, name: 'merged', type: 'F16', adapter }, fileSink(merged));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("merged as F16, and the adapter on the user's own Q4_1 file, give the logits of base and adapter in llama.cpp", async () => {
    const lora = join(folder, 'lora.gguf');
    await exportGgufAdapter({ adapter, config: model.config, name: 'lora' }, fileSink(lora));
    const runs = [{ model: merged, ids: IDS }, { model: file!, ids: IDS }, { model: file!, lora, ids: IDS }];
    const [whole, alone, apart] = (await llamaLogitsOf(runs)) as [Float32Array[], Float32Array[], Float32Array[]];
    expect(meanKl(engine, whole)).toBeLessThan(1e-4);
    // llama.cpp rounds activations to 8-bit blocks before it multiplies with Q4_1 and Q8_0 weights: 0.008 for this model and text.
    expect(meanKl(base, alone)).toBeLessThan(0.02);
    expect(meanKl(engine, apart)).toBeLessThan(0.02);
    // The adapter is no bystander: without it the model answers otherwise.
    expect(meanKl(engine, base)).toBeGreaterThan(0.1);
  });

  it('the tokenizer written with it gives the reference ids', async () => {
    const texts = readFileSync(shared('tokenizers/smollm2.gguf.inp')!, 'utf8').split('\n__ggml_vocab_test__\n');
    const expected = readFileSync(shared('tokenizers/smollm2.gguf.out')!, 'utf8').trimEnd().split('\n');
    const tokens = await llamaTokens(merged, texts);
    expected.forEach((ids, i) => expect(tokens[i]!.join(' '), JSON.stringify(texts[i])).toBe(ids.trim()));
  });
});
