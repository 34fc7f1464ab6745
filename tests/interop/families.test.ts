import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FileType, ModelConfig } from '../../src/core/model';
import { exportGgufAdapter } from '../../src/exports/gguf-adapter';
import { exportMergedGguf } from '../../src/exports/gguf-model';
import { openGguf } from '../../src/gguf/model';
import { fileSource } from '../files';
import { FAMILY_CONFIGS, fileSink, randomAdapter, randomModel } from '../fixtures';
import { largestDifference, meanKl, referenceLogits } from '../reference/decoder';
import { hasLlamaCpp, llamaLogitsOf } from './llama-cpp';

const TYPES = ['F32', 'F16', 'Q8_0', 'Q4_K_M'] as const satisfies FileType[];
const IDS = [1, 9, 20, 57, 94, 131, 8, 45, 82, 119, 156, 33, 70, 107, 144, 21, 58, 95, 132, 9];

/** Families whose GGUF files have heads of any size; the others' fill the hidden size. */
const FREE_HEADS = new Set(['llama', 'mistral', 'qwen3', 'gemma2', 'gemma3_text', 'smollm3']);

/**
 * Rows of 256, which K types need; Mistral's window beyond the text, since GGUF files have no key for it; long-rope's change
 * beyond any context, since llama.cpp decides by the context's size which factors it takes.
 */
function wide(config: ModelConfig): ModelConfig {
  const heads = FREE_HEADS.has(config.model_type) ? {} : { num_attention_heads: 256 / config.head_dim, num_key_value_heads: 4 };
  return {
    ...config,
    ...heads,
    hidden_size: 256,
    intermediate_size: 256,
    ...(config.model_type === 'mistral' && { sliding_window: 64 }),
    rope_long: config.rope_long && { ...config.rope_long, original_max_position_embeddings: 4096 },
  };
}

describe.skipIf(!hasLlamaCpp)('every family in llama.cpp (skipped where node-llama-cpp is not installed)', () => {
  let folder = '';
  const answers = new Map<string, Float32Array[]>();
  const path = (name: string): string => join(folder, `${name}.gguf`);
  const families = FAMILY_CONFIGS.map((config, i) => {
    const model = randomModel(wide(config));
    return { name: `${config.model_type}-${i}`, model, adapter: randomAdapter(model.config, { r: 4, strength: 0.1 }) };
  });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hone-families-'));
    const runs: { key: string; model: string; lora?: string }[] = [];
    for (const { name, model, adapter } of families) {
      await exportMergedGguf({ model, name, type: 'F32' }, fileSink(path(`${name}-base`)));
      await exportGgufAdapter({ adapter, config: model.config, name }, fileSink(path(`${name}-lora`)));
      runs.push({ key: `${name} apart`, model: path(`${name}-base`), lora: path(`${name}-lora`) });
      for (const type of TYPES) {
        await exportMergedGguf({ model, name, type, adapter }, fileSink(path(`${name}-${type}`)));
        runs.push({ key: `${name} ${type}`, model: path(`${name}-${type}`) });
      }
    }
    const logits = await llamaLogitsOf(runs.map(({ key: _, ...run }) => ({ ...run, ids: IDS })));
    runs.forEach(({ key }, i) => answers.set(key, logits[i]!));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(families)('$name: merged in F32, and as base and adapter, the logits of the trained model', async ({ name, model, adapter }) => {
    const expected = await referenceLogits(model, IDS, adapter);
    // ggml looks GELU up in a table of 16-bit floats; all else is f32, with logits up to about 10.
    const tolerance = name.startsWith('gemma') ? 1e-2 : 1e-3;
    expect(largestDifference(expected, answers.get(`${name} F32`)!)).toBeLessThan(tolerance);
    expect(largestDifference(expected, answers.get(`${name} apart`)!)).toBeLessThan(tolerance);
    expect(largestDifference(expected, await referenceLogits(model, IDS))).toBeGreaterThan(0.1);
  });

  it.each(families.flatMap((family) => TYPES.slice(1).map((type) => ({ ...family, type }))))('$name in $type: the logits of the weights in the file', async ({ name, type }) => {
    const own = await referenceLogits(await openGguf(await fileSource(path(`${name}-${type}`))), IDS);
    const theirs = answers.get(`${name} ${type}`)!;
    // llama.cpp rounds activations to the weights' type before it multiplies: to 16-bit floats, or 8-bit blocks.
    if (type === 'F16') expect(largestDifference(own, theirs)).toBeLessThan(1e-2);
    expect(meanKl(own, theirs)).toBeLessThan(type === 'F16' ? 1e-5 : 1e-2);
  });
});
