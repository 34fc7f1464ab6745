import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FILE_TYPES, type FileType, type ModelConfig, type WeightType } from '../../src/core/model';
import { Random } from '../../src/core/random';
import { exportMergedGguf } from '../../src/exports/gguf-model';
import { quantize } from '../../src/gguf/quantize';
import { readGguf } from '../../src/gguf/reader';
import { fileSource } from '../files';
import { FAMILY_CONFIGS, TINY, familyName, fileSink, randomModel, randomValues } from '../fixtures';
import { ggmlQuantize, hasLlamaQuantize, llamaQuantize } from './llama-quantize';

const TYPES: WeightType[] = ['F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q4_K', 'Q5_K', 'Q6_K'];
const COUNT = 256 * 400;

/** One number for each index from a generator that may remember the last run of 32. */
type Make = (normal: number, uniform: number, i: number, run: { value: number }) => number;
const DISTRIBUTIONS: Record<string, Make> = {
  'normal weights': (normal) => 0.02 * normal,
  'heavy tails': (normal, uniform) => (0.02 * normal) / Math.max(1e-4, uniform) ** 2,
  'mostly zeros': (normal, uniform) => (uniform < 0.03 ? normal : 0),
  'zeros of both signs': (_, uniform) => (uniform < 0.5 ? -0 : 0),
  'negative values': (normal, uniform) => -Math.abs(normal) - (uniform < 0.5 ? 1 : 0),
  'positive values': (normal) => Math.abs(normal),
  'a grid of ties': (normal) => Math.round(8 * normal) / 8,
  outliers: (normal, _, i) => (i % 97 === 0 ? 1000 * normal : 0.01 * normal),
  'constant runs': (normal, _, i, run) => (run.value = i % 32 === 0 ? normal : run.value),
  'runs that are nearly constant': (normal, uniform, i, run) => {
    if (i % 32 === 0) run.value = normal;
    return uniform < 0.5 ? run.value : run.value * (1 + 1e-6 * normal);
  },
  'negative runs of small spread': (normal, uniform, i, run) => {
    if (i % 32 === 0) run.value = -(10 ** (12 * uniform - 6));
    return run.value * (1 + 1e-4 * Math.abs(normal));
  },
  'a magnitude a run, 1e-45 to 1e38': (normal, uniform, i, run) => {
    if (i % 16 === 0) run.value = 10 ** (83 * uniform - 45);
    return run.value * normal;
  },
  'a magnitude a value, 1e-45 to 1e38': (normal, uniform) => Math.sign(normal) * 10 ** (83 * uniform - 45),
  subnormals: (normal, uniform) => normal * 10 ** (-36 - 9 * uniform),
  'the largest float32 of both signs': (_, uniform) => (uniform < 0.5 ? 3.4028234e38 : -3.4028234e38),
};

describe.skipIf(!hasLlamaQuantize)("ggml's own quantisers (skipped without node-llama-cpp for x86-64 Linux and python3)", () => {
  it.each(Object.keys(DISTRIBUTIONS))('write the same bytes for %s', (name) => {
    const random = new Random(11);
    const normals = randomValues(random, COUNT, 1);
    const run = { value: 0 };
    const largest = 3.4028234e38;
    const values = Float32Array.from(normals, (normal, i) => Math.max(-largest, Math.min(largest, DISTRIBUTIONS[name]!(normal, random.uniform(), i, run))));
    const theirs = ggmlQuantize(TYPES, values);
    TYPES.forEach((type, i) => expect(Buffer.compare(quantize(type, values), theirs[i]!), type).toBe(0));
  });

  it('write others for others', () => {
    const values = randomValues(new Random(12), 256, 1);
    const [theirs] = ggmlQuantize(['Q4_K'], values);
    values[100]! += 0.5;
    expect(Buffer.compare(quantize('Q4_K', values), theirs!)).not.toBe(0);
  });
});

/** A family's tiny config with other sizes and as many layers; patterns over layers go on. */
function resized(config: ModelConfig, num_hidden_layers: number, sizes: Partial<ModelConfig> = {}): ModelConfig {
  const repeat = <T>(pattern: readonly T[]): T[] => (pattern.length === 0 ? [] : Array.from({ length: num_hidden_layers }, (_, i) => pattern[i % pattern.length]!));
  const layer_types = config.model_type === 'gemma3_text' ? repeat(config.layer_types.slice(0, 6)) : repeat(config.layer_types.slice(0, 2));
  return { ...config, ...sizes, num_hidden_layers, layer_types, no_rope_layers: repeat(config.no_rope_layers) };
}

const ofFamily = (model_type: string): ModelConfig => FAMILY_CONFIGS.find((config) => config.model_type === model_type)!;
/** Rows of 256 and of 320, so that K types are used here and replaced there. */
const WIDE = { hidden_size: 256, intermediate_size: 320 };
/** 80 layers are how llama.cpp knows models of 70B; only attn_v's type depends on that, so the rest is small. */
const MANY = { hidden_size: 256, intermediate_size: 32 };
const MODELS: [string, ModelConfig, readonly FileType[]][] = [
  ...FAMILY_CONFIGS.map((config): [string, ModelConfig, readonly FileType[]] => [familyName(config), resized(config, 9), FILE_TYPES]),
  ['llama with rows of 256, tied', resized(TINY, 10, { ...WIDE, tie_word_embeddings: true }), FILE_TYPES],
  ['phi3 with rows of 256', resized(ofFamily('phi3'), 10, WIDE), FILE_TYPES],
  ['llama of 80 layers that share heads', resized(TINY, 80, MANY), ['Q4_K_M', 'Q4_K_S', 'Q5_K_M']],
  ['llama of 80 layers', resized(TINY, 80, { ...MANY, num_attention_heads: 2 }), ['Q4_K_S']],
  ['qwen2 of 80 layers', resized(ofFamily('qwen2'), 80, { ...MANY, num_attention_heads: 2 }), ['Q4_K_S']],
];

describe.skipIf(!hasLlamaQuantize)("llama.cpp's own quantised files (skipped without node-llama-cpp for x86-64 Linux and python3)", () => {
  let folder = '';
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'hone-quantize-'))));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(MODELS)('hold the types and bytes of ours: %s', async (name, config, types) => {
    const model = randomModel(config);
    const [base, ours, theirs] = ['base.gguf', 'ours', 'theirs'].map((part) => join(folder, `${name}-${part}`)) as [string, string, string];
    [ours, theirs].forEach((path) => mkdirSync(path));
    await exportMergedGguf({ model, name, type: 'F32' }, fileSink(base));
    llamaQuantize(base, types, theirs);
    for (const type of types) {
      await exportMergedGguf({ model, name, type }, fileSink(join(ours, `${type}.gguf`)));
      const [mine, expected] = await Promise.all([ours, theirs].map((path) => tensorsOf(join(path, `${type}.gguf`))));
      expect(mine!.fileType).toEqual(expected!.fileType);
      expect(Object.fromEntries(mine!.types), type).toEqual(Object.fromEntries(expected!.types));
      for (const [tensor, bytes] of expected!.bytes) expect(Buffer.compare(mine!.bytes.get(tensor)!, bytes), `${type} ${tensor}`).toBe(0);
    }
  });
});

/** A GGUF file's `general.file_type` and its tensors' types and bytes. */
async function tensorsOf(path: string) {
  const header = await readGguf(await fileSource(path));
  const file = readFileSync(path);
  const tensors = [...header.tensors.values()];
  return {
    fileType: header.metadata.get('general.file_type'),
    types: new Map(tensors.map(({ name, type }) => [name, type])),
    bytes: new Map(tensors.map(({ name, offset, bytes }) => [name, file.subarray(offset, offset + bytes)])),
  };
}
