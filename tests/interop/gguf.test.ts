import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gguf } from '@huggingface/gguf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Adapter } from '../../src/core/adapter';
import type { FileType, ModelSource } from '../../src/core/model';
import { exportGgufAdapter } from '../../src/exports/gguf-adapter';
import { exportMergedGguf } from '../../src/exports/gguf-model';
import { openGguf } from '../../src/gguf/model';
import { fileSource } from '../files';
import { largestDifference, meanKl, referenceLogits } from '../reference/decoder';
import { shared } from '../shared';
import { TINY, fileSink, randomAdapter, randomModel } from '../fixtures';
import { engineLogits } from './engine';
import { hasLlamaCpp, llamaLogitsOf } from './llama-cpp';

const stories = shared('models/stories260K/stories260K-f32.gguf');
const TYPES: FileType[] = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0'];
/** 20 tokens in range of both vocabularies. */
const IDS = [1, 9, 20, 57, 94, 131, 8, 45, 82, 119, 156, 33, 70, 107, 144, 21, 58, 95, 132, 9];
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hone-interop-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Case {
  name: string;
  open: () => Promise<ModelSource>;
  adapter: (model: ModelSource) => Adapter;
  types: FileType[];
}
const CASES: Case[] = [
  {
    name: 'a random llama (untied head, llama3 rope scaling)',
    open: () => Promise.resolve(randomModel(TINY)),
    adapter: ({ config }) => randomAdapter(config),
    types: TYPES,
  },
  {
    name: 'a random llama with rsLoRA, ranks and alphas by pattern',
    open: () => Promise.resolve(randomModel(TINY, 4)),
    adapter: ({ config }) => randomAdapter(config, { r: 3, use_rslora: true, rank_pattern: { q_proj: 5, 'layers.1.*': 1 }, alpha_pattern: { up_proj: 3 } }),
    types: ['F32'],
  },
  {
    name: 'a random llama with rows of 256',
    open: () => Promise.resolve(randomModel({ ...TINY, hidden_size: 256, intermediate_size: 256 }, 6)),
    adapter: ({ config }) => randomAdapter(config),
    types: ['F32', 'Q6_K', 'Q5_K_M', 'Q5_1', 'Q5_0', 'Q4_K_M', 'Q4_K_S', 'Q4_1'],
  },
];
if (stories) {
  CASES.push({
    name: 'stories260K (tied head, rows of 172)',
    open: async () => openGguf(await fileSource(stories)),
    adapter: ({ config }) => randomAdapter(config),
    types: TYPES,
  });
}

describe.each(CASES)('$name', ({ open, adapter: makeAdapter, types }) => {
  let model: ModelSource;
  let adapter: Adapter;
  let expected: Float64Array[];
  let engine: Float32Array[];
  beforeAll(async () => {
    model = await open();
    adapter = makeAdapter(model);
    expected = await referenceLogits(model, IDS, adapter);
    engine = await engineLogits(model, IDS, adapter);
  });

  it('gives in the engine what the f64 reference gives', () => {
    // The engine computes in f32; the logits here reach 10 to 20.
    expect(largestDifference(expected, engine)).toBeLessThan(1e-3);
  });

  it('is changed by the adapter', async () => {
    expect(meanKl(expected, await referenceLogits(model, IDS))).toBeGreaterThan(0.1);
  });

  it('merged files parse with @huggingface/gguf, tensor for tensor', async () => {
    for (const type of types) {
      const path = join(folder, `parsed-${type}.gguf`);
      await exportMergedGguf({ model, name: 'merged', type, adapter }, fileSink(path));
      const parsed = await gguf(path, { allowLocalFile: true });
      expect(parsed.metadata['general.architecture']).toBe('llama');
      const norms = parsed.tensorInfos.filter(({ name }) => name.endsWith('_norm.weight'));
      expect(norms.every(({ dtype }) => dtype === 0)).toBe(true);
      expect(parsed.tensorInfos).toHaveLength(model.tensors.size + (model.config.rope_factors ? 1 : 0));
    }
  });

  describe.skipIf(!hasLlamaCpp)('in llama.cpp (skipped where node-llama-cpp is not installed)', () => {
    const path = (name: string): string => join(folder, `${name}.gguf`);
    /** llama.cpp's logits by what ran: a merged type, or base and adapter apart. */
    const theirs = new Map<string, Float32Array[]>();
    beforeAll(async () => {
      await exportMergedGguf({ model, name: 'base', type: 'F32' }, fileSink(path('base')));
      await exportGgufAdapter({ adapter, config: model.config, name: 'lora' }, fileSink(path('lora')));
      for (const type of types) await exportMergedGguf({ model, name: 'merged', type, adapter }, fileSink(path(type)));
      const runs = [{ model: path('base'), lora: path('lora'), ids: IDS }, ...types.map((type) => ({ model: path(type), ids: IDS }))];
      const logits = await llamaLogitsOf(runs);
      ['apart', ...types].forEach((name, i) => theirs.set(name, logits[i]!));
    });

    it.each(types)('the merged %s file gives the logits of its own weights', async (type) => {
      const own = await referenceLogits(await openGguf(await fileSource(path(type))), IDS);
      // llama.cpp rounds activations to the weights' type (F16, BF16) or to 8-bit blocks (all others but F32) before it multiplies:
      // 0.0025 at most for these models.
      const rounding: Partial<Record<FileType, number>> = { F32: 1e-6, F16: 1e-4, BF16: 3e-3 };
      expect(meanKl(own, theirs.get(type)!)).toBeLessThan(rounding[type] ?? 5e-3);
      // For F32 and F16 also the logits of the model that was trained, base and adapter apart.
      if (type === 'F32' || type === 'F16') expect(meanKl(engine, theirs.get(type)!)).toBeLessThan(1e-4);
      // Measured against logits, so that a wrong row order cannot hide behind a good top token.
      if (type === 'F32') expect(largestDifference(expected, theirs.get(type)!)).toBeLessThan(1e-3);
    });

    it('base with adapter file equals the merged file and the engine', async () => {
      expect(meanKl(engine, theirs.get('apart')!)).toBeLessThan(1e-6);
      expect(meanKl(theirs.get('F32')!, theirs.get('apart')!)).toBeLessThan(1e-6);
      const parsed = await gguf(path('lora'), { allowLocalFile: true });
      expect(parsed.metadata).toMatchObject({ 'general.type': 'adapter', 'adapter.type': 'lora' });
      expect(parsed.tensorInfos).toHaveLength(adapter.tensors.size);
    });
  });
});
