import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adaptedPaths, loraRank, loraScale, peftName, targetNames, type Adapter } from '../../src/core/adapter';
import { MemorySink, MemorySource, type ByteSource } from '../../src/core/bytes';
import { HoneError } from '../../src/core/errors';
import type { ModelConfig } from '../../src/core/model';
import { exportGgufAdapter } from '../../src/exports/gguf-adapter';
import { peftFiles } from '../../src/exports/peft';
import { readAdapter } from '../../src/formats/adapter';
import { quantize } from '../../src/gguf/quantize';
import { GgufWriter, f32, text, type GgufMetadata, type TensorPlan } from '../../src/gguf/writer';
import { readSafetensors } from '../../src/safetensors/reader';
import { SafetensorsWriter } from '../../src/safetensors/writer';
import { FAMILY_CONFIGS, TINY, randomAdapter, writtenFiles } from '../fixtures';

const encoder = new TextEncoder();
const card = { name: 'test', baseModel: 'org/base', facts: [] };

/** An adapter's PEFT files, with other config keys and other names for its tensors. */
async function peft(adapter: Adapter, change: object = {}, rename = (name: string) => name): Promise<ByteSource[]> {
  const files = await writtenFiles(peftFiles({ adapter, card }));
  const config = files.find(({ name }) => name === 'adapter_config.json')!;
  const json = JSON.parse(Buffer.from(await config.read(0, config.size)).toString()) as object;
  const weights = files.find(({ name }) => name === 'adapter_model.safetensors')!;
  const infos = [...(await readSafetensors(weights)).tensors.values()];
  const sink = new MemorySink();
  const writer = await SafetensorsWriter.start(sink, infos.map(({ name, shape }) => ({ name: rename(name), type: 'F32', shape })));
  for (const { offset, bytes } of infos) await writer.append(await weights.read(offset, bytes));
  writer.finish();
  return [
    new MemorySource(encoder.encode(JSON.stringify({ ...json, ...change })), 'adapter_config.json'),
    new MemorySource(sink.bytes(), 'adapter_model.safetensors'),
  ];
}

const inOrder = <T>(map: ReadonlyMap<string, T>): [string, T][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

describe('a PEFT adapter of a variant', () => {
  it('with DoRA, rsLoRA and patterns is read back as it was exported', async () => {
    const adapter = randomAdapter(TINY, { r: 3, use_dora: true, use_rslora: true, rank_pattern: { 'layers.1.*q_proj': 5 }, alpha_pattern: { up_proj: 2.5 } });
    const read = await readAdapter(await peft(adapter), TINY);
    expect(read.config).toEqual(adapter.config);
    expect(inOrder(read.tensors)).toEqual(inOrder(adapter.tensors));
    expect(inOrder(read.magnitudes)).toEqual(inOrder(adapter.magnitudes));
  });

  const layer1 = randomAdapter(TINY, { r: 2, target_modules: ['model.layers.1.self_attn.q_proj', 'model.layers.1.mlp.up_proj'] });
  it.each<[string, object]>([
    ['a regular expression', { target_modules: 'model\\.layers\\.1\\..*(q_proj|up_proj)' }],
    ['whole paths', {}],
    ['names and layers_to_transform', { target_modules: ['up_proj', 'q_proj'], layers_to_transform: [1], layers_pattern: 'layers' }],
    ['all-linear and what is left out', { target_modules: 'all-linear', layers_to_transform: 1, exclude_modules: ['k_proj', 'v_proj', 'o_proj', 'gate_proj', 'down_proj'] }],
  ])('may name its modules by %s', async (_, change) => {
    const read = await readAdapter(await peft(layer1, change), TINY);
    expect(read.config.target_modules).toEqual(targetNames(TINY, adaptedPaths(layer1)));
    expect(inOrder(read.tensors)).toEqual(inOrder(layer1.tensors));
  });

  it('that lacks a module its config targets is named by it', async () => {
    await expect(readAdapter(await peft(layer1, { target_modules: 'model\\.layers\\.[12]\\..*(q_proj|up_proj)' }), TINY)).rejects.toThrow(
      'lacks base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight',
    );
    await expect(readAdapter(await peft(layer1, { target_modules: '(.*)+q_proj' }), TINY)).rejects.toThrow('target_modules has the pattern (.*)+q_proj, which repeats a group');
  });

  it('of a multimodal model is read as one of its text part', async () => {
    const adapter = randomAdapter(TINY, { r: 2, alpha_pattern: { 'model.layers.1.mlp.up_proj': 5 } });
    const patterns = { alpha_pattern: { '^model\\.language_model\\.layers\\.1\\.mlp\\.up_proj': 5 } };
    const names = (name: string) => name.replace('model.model.layers', 'model.model.language_model.layers');
    const read = await readAdapter(await peft(adapter, { target_modules: '.*language_model.*\\.(q|k|v|o|gate|up|down)_proj', ...patterns }, names), TINY);
    expect(read.config).toEqual(adapter.config);
    expect(inOrder(read.tensors)).toEqual(inOrder(adapter.tensors));
  });

  it("for a multimodal model is written under the whole model's paths, and read back as it was", async () => {
    const adapter = randomAdapter(TINY, { r: 2, use_dora: true, rank_pattern: { 'model.layers.1.mlp.up_proj': 3 }, target_modules: ['q_proj', 'up_proj'] });
    const files = await writtenFiles(peftFiles({ adapter, card, textPath: 'model.language_model' }));
    const names = [...(await readSafetensors(files.find(({ name }) => name.endsWith('.safetensors'))!)).tensors.keys()];
    expect(names.every((name) => name.startsWith('base_model.model.model.language_model.layers.'))).toBe(true);
    const read = await readAdapter(files, TINY);
    expect(read.config).toEqual(adapter.config);
    expect(inOrder(read.tensors)).toEqual(inOrder(adapter.tensors));
    expect(inOrder(read.magnitudes)).toEqual(inOrder(adapter.magnitudes));
  });

  it('that holds something beside pairs and magnitudes is named by it', async () => {
    const adapter = randomAdapter(TINY, { r: 2, use_dora: true });
    const rename = (from: string, to: string) => (name: string) => name.replace(from, to);
    const path = 'model.layers.0.mlp.up_proj';
    await expect(readAdapter(await peft(adapter, {}, rename(`${path}.lora_A.weight`, `${path}.weight`)), TINY)).rejects.toThrow(`the adapter holds base_model.model.${path}.weight`);
    await expect(readAdapter(await peft(adapter, { use_dora: false }), TINY)).rejects.toThrow('holds a lora_magnitude_vector of model.layers.0.mlp.down_proj that its config has no use for');
    const short = { ...adapter, magnitudes: new Map(adapter.magnitudes).set(path, new Float32Array(7)) };
    await expect(readAdapter(await peft(short), TINY)).rejects.toThrow(`DoRA magnitudes of ${path} are 7 numbers, and the model asks for 96`);
  });
});

async function ggufOf(adapter: Adapter, config: ModelConfig): Promise<ByteSource> {
  const sink = new MemorySink();
  await exportGgufAdapter({ adapter, config, name: 'test' }, sink);
  return new MemorySource(sink.bytes(), 'adapter.gguf');
}

/** A file made by hand. */
async function written(metadata: GgufMetadata, tensors: (TensorPlan & { values: Float32Array })[]): Promise<ByteSource> {
  const sink = new MemorySink();
  const writer = await GgufWriter.start(sink, metadata, tensors);
  for (const { type, values } of tensors) await writer.append(quantize(type, values));
  writer.finish();
  return new MemorySource(sink.bytes(), 'made.gguf');
}

const header = (others: [string, ReturnType<typeof text>][] = []): GgufMetadata =>
  new Map([['general.type', text('adapter')], ['general.architecture', text('llama')], ['adapter.type', text('lora')], ...others]);
const ones = (count: number): Float32Array => new Float32Array(count).fill(1);

describe('a GGUF adapter', () => {
  it.each(FAMILY_CONFIGS.map((config) => [config.model_type, config] as const))('for %s is read back as the adapter that was exported', async (_, config) => {
    const adapter = randomAdapter(config, { r: 3 });
    const read = await readAdapter([await ggufOf(adapter, config)], config);
    expect(read.config).toEqual(adapter.config);
    expect(inOrder(read.tensors)).toEqual(inOrder(adapter.tensors));
  });

  it('of several ranks and alphas does what the exported one does', async () => {
    const adapter = randomAdapter(TINY, { r: 3, use_rslora: true, rank_pattern: { q_proj: 5, 'layers.2.mlp.*': 1 }, alpha_pattern: { up_proj: 2.5 } });
    const read = await readAdapter([await ggufOf(adapter, TINY)], TINY);
    for (const path of adaptedPaths(adapter)) {
      expect(loraRank(read.config, path), path).toBe(loraRank(adapter.config, path));
      const changes = [read, adapter].map((one) => one.tensors.get(peftName(path, 'B'))!.data.map((value) => value * loraScale(one.config, path)));
      // Alpha and B are stored in f32: three roundings.
      changes[0]!.forEach((value, i) => expect(Math.abs(value - changes[1]![i]!)).toBeLessThan(3e-7 * Math.abs(value) + 1e-12));
      expect(read.tensors.get(peftName(path, 'A')), path).toEqual(adapter.tensors.get(peftName(path, 'A')));
    }
  });

  it('has a scale of 1 where it has no alpha, and may be stored in any type', async () => {
    const pair = (name: string, r: number): (TensorPlan & { values: Float32Array })[] => [
      { name: `${name}.weight.lora_a`, dims: [64, r], type: 'Q8_0', values: ones(64 * r).fill(127) },
      { name: `${name}.weight.lora_b`, dims: [r, 96], type: 'F16', values: ones(r * 96) },
    ];
    const read = await readAdapter([await written(header(), [...pair('blk.0.ffn_up', 2), ...pair('blk.2.ffn_up', 4), ...pair('blk.2.ffn_gate', 4)])], TINY);
    expect(adaptedPaths(read)).toEqual(['model.layers.0.mlp.up_proj', 'model.layers.2.mlp.up_proj', 'model.layers.2.mlp.gate_proj']);
    for (const path of adaptedPaths(read)) expect(loraScale(read.config, path)).toBe(1);
    expect(loraRank(read.config, 'model.layers.0.mlp.up_proj')).toBe(2);
    expect(read.tensors.get(peftName('model.layers.2.mlp.up_proj', 'A'))).toEqual({ shape: [4, 64], data: ones(256).fill(127) });
  });

  const up = (columns: number, rows: number): (TensorPlan & { values: Float32Array })[] => [
    { name: 'blk.1.ffn_up.weight.lora_a', dims: [columns, 2], type: 'F32', values: ones(columns * 2) },
    { name: 'blk.1.ffn_up.weight.lora_b', dims: [2, rows], type: 'F32', values: ones(rows * 2) },
  ];
  it.each<[string, GgufMetadata, (TensorPlan & { values: Float32Array })[], string]>([
    ['a model', new Map([['general.type', text('model')]]), up(64, 96), 'the file holds a GGUF model, not an adapter'],
    ['a control vector', header([['adapter.type', text('control')]]), up(64, 96), 'adapter.type is control'],
    ['another architecture', header([['general.architecture', text('qwen2')]]), up(64, 96), 'the adapter is for qwen2, and the model is llama'],
    ['other shapes', header(), up(32, 96), 'model.layers.1.mlp.up_proj.lora_A.weight has the shape 2 × 32, and the model asks for 2 × 64'],
    ['half a pair', header(), up(64, 96).slice(1), 'one half of the pair of model.layers.1.mlp.up_proj'],
    ['two ranks in a pair', header(), [up(64, 96)[0]!, { ...up(64, 96)[1]!, dims: [3, 96], values: ones(288) }], 'lora_a of model.layers.1.mlp.up_proj has rank 2, and lora_b has rank 3'],
    ['an adapted embedding', header(), [{ name: 'token_embd.weight.lora_a', dims: [2, 160], type: 'F32', values: ones(320) }], 'holds token_embd.weight.lora_a'],
    ['a layer that the model has not', header(), up(64, 96).map((tensor) => ({ ...tensor, name: tensor.name.replace('blk.1', 'blk.7') })), 'it has no model.layers.7.mlp.up_proj'],
    ['an alpha below zero', header([['adapter.lora.alpha', f32(-1)]]), up(64, 96), 'adapter.lora.alpha is -1'],
    ['no tensors', header(), [], 'the adapter holds no tensors'],
  ])('that is %s is refused in one sentence', async (_, metadata, tensors, sentence) => {
    await expect(readAdapter([await written(metadata, tensors)], TINY)).rejects.toThrow(sentence);
  });

  it('is not made of a DoRA, and the refusal says what can be done', async () => {
    await expect(ggufOf(randomAdapter(TINY, { use_dora: true }), TINY)).rejects.toThrow('which has no GGUF adapter form; export the merged model instead');
  });
});

describe('a damaged adapter', () => {
  it('with any value under any key of its config gives an error of its own or an adapter', async () => {
    const adapter = randomAdapter(TINY, { r: 1, target_modules: ['q_proj'], use_dora: true });
    const keys = ['alpha_pattern', 'exclude_modules', 'layers_to_transform', 'layers_pattern', 'init_lora_weights', 'arrow_config', 'use_dora', 'target_modules', 'rank_pattern'];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...keys), fc.oneof(fc.jsonValue(), fc.string()), async (key, value) => {
        await honest(async () => readAdapter(await peft(adapter, { [key]: value }), TINY));
      }),
      { numRuns: 300 },
    );
  });

  it('in GGUF gives an error of its own wherever it is cut off or a byte is changed', async () => {
    const file = await ggufOf(randomAdapter(TINY, { r: 1, target_modules: ['q_proj'] }), TINY);
    const bytes = await file.read(0, file.size);
    // All that is read before the tensors' data.
    const header = bytes.length - 3 * 4 * (64 + 96);
    for (let length = 4; length < header; length += 3) await expect(readAdapter([new MemorySource(bytes.slice(0, length), 'cut.gguf')], TINY)).rejects.toThrow(HoneError);
    await fc.assert(
      fc.asyncProperty(fc.nat(header - 5), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const damaged = bytes.slice();
        damaged[4 + at]! ^= change;
        await honest(() => readAdapter([new MemorySource(damaged, 'damaged.gguf')], TINY));
      }),
      { numRuns: 300 },
    );
  });
});

/** Runs what may fail, but in no other way than with an error that a person can act on. */
async function honest(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof HoneError)) throw error;
  }
}
