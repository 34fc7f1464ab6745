import { describe, expect, it } from 'vitest';
import { adaptedPaths, loraScale, peftName, type AdapterTensor } from '../../src/core/adapter';
import { dequantize } from '../../src/core/blocks';
import { MemorySource } from '../../src/core/bytes';
import type { ModelConfig, ModelSource } from '../../src/core/model';
import { llama3RopeFactors } from '../../src/core/rope';
import { checkConfigs } from '../../src/exports/check-config';
import { mergedLayout } from '../../src/exports/gguf-model';
import { mergedModel } from '../../src/exports/merged';
import { mlxFiles } from '../../src/exports/mlx';
import { folderFiles, ownFloatType, shards } from '../../src/exports/safetensors-model';
import { readMlxAdapter } from '../../src/formats/mlx-adapter';
import { openModel } from '../../src/formats/open-model';
import { quantize } from '../../src/gguf/quantize';
import { readGguf } from '../../src/gguf/reader';
import { ggufHeader } from '../../src/gguf/writer';
import { readSafetensors } from '../../src/safetensors/reader';
import { FAMILY_CONFIGS, TINY, randomAdapter, randomModel, writtenFiles } from '../fixtures';

const model = randomModel(TINY);
const named = FAMILY_CONFIGS.map((config, i) => ({ name: `${config.model_type} ${i}`, config }));

async function jsonOf(source: MemorySource): Promise<Record<string, unknown>> {
  return JSON.parse(new TextDecoder().decode(await source.read(0, source.size))) as Record<string, unknown>;
}

describe('a safetensors folder of a base that came from GGUF', () => {
  it.each(named)('of $name is opened again with the same config and weights', async ({ config }) => {
    const base = randomModel(config);
    const adapter = randomAdapter(config);
    const again = await openModel(await writtenFiles(await folderFiles({ model: base, adapter, type: 'F32' }), 'again'));
    expect(checkConfigs('again', config, again.config)).toEqual([]);
    const merged = mergedModel(base, { adapter });
    for (const [name, tensor] of merged.tensors) {
      const rows = tensor.shape.length === 1 ? 1 : tensor.shape[0]!;
      expect(Buffer.compare(await again.tensors.get(name)!.readRows(0, rows), await tensor.readRows(0, rows)), name).toBe(0);
    }
  });

  it('says rope scalings that transformers knows, and others by their factors', async () => {
    const rope = async (config: ModelConfig): Promise<unknown> => {
      const files = await writtenFiles(await folderFiles({ model: randomModel(config), type: 'F16' }));
      return (await jsonOf(files.find(({ name }) => name === 'config.json')!))['rope_scaling'];
    };
    const llama31: ModelConfig = { ...TINY, head_dim: 128, num_attention_heads: 2, rope_theta: 500000 };
    const scaling = { factor: 32, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
    // As a GGUF file holds them.
    const factors = llama3RopeFactors(500000, 128, scaling).map(Math.fround);
    expect(await rope({ ...llama31, rope_factors: factors })).toEqual({ rope_type: 'llama3', ...scaling });
    expect(await rope({ ...TINY, rope_factors: new Array<number>(8).fill(4) })).toEqual({ rope_type: 'linear', factor: 4 });
    expect(await rope({ ...TINY, rope_factors: null })).toBeNull();
    expect(await rope({ ...TINY, rope_factors: [1, 2, 3, 4, 5, 6, 7, 8] })).toMatchObject({ rope_type: 'longrope', short_factor: [1, 2, 3, 4, 5, 6, 7, 8], attention_factor: 1 });
  });
});

describe('a safetensors folder of a base that came from one', () => {
  const file = (name: string, text: string): MemorySource => new MemorySource(new TextEncoder().encode(text), `base/${name}`);
  const own: ModelSource = {
    ...model,
    files: [
      file('config.json', JSON.stringify({ model_type: 'llama', strange_key: [1, 2], torch_dtype: 'float32' })),
      file('generation_config.json', '{"temperature":0.6}'),
      file('tokenizer.json', '{"exactly":  "this"}'),
      file('tokenizer_config.json', '{}'),
    ],
  };

  it('carries its config, generation settings and tokenizer, and the template of training', async () => {
    const files = await writtenFiles(await folderFiles({ model: own, type: 'BF16', chatTemplate: 'T {{ x }}' }));
    const text = async (name: string): Promise<string> => {
      const found = files.find((source) => source.name === name)!;
      return new TextDecoder().decode(await found.read(0, found.size));
    };
    expect(JSON.parse(await text('config.json'))).toEqual({ model_type: 'llama', strange_key: [1, 2], torch_dtype: 'bfloat16', dtype: 'bfloat16' });
    expect(JSON.parse(await text('generation_config.json'))).toEqual({ temperature: 0.6 });
    expect(await text('tokenizer.json')).toBe('{"exactly":  "this"}');
    expect(await text('chat_template.jinja')).toBe('T {{ x }}');
    expect(files.at(-1)!.name).toBe('model.safetensors');
  });

  it('of a model that sees has the config of its text part', async () => {
    const config = file('config.json', JSON.stringify({ model_type: 'gemma3', eos_token_id: [1, 106], vision_config: {}, text_config: { hidden_size: 64, model_type: 'gemma3_text' } }));
    const sees: ModelSource = { ...randomModel(FAMILY_CONFIGS.find(({ model_type }) => model_type === 'gemma3_text')!), files: [config] };
    const [written] = await writtenFiles(await folderFiles({ model: sees, type: 'BF16' }));
    expect(await jsonOf(written!)).toEqual({
      eos_token_id: [1, 106],
      hidden_size: 64,
      model_type: 'gemma3_text',
      architectures: ['Gemma3ForCausalLM'],
      torch_dtype: 'bfloat16',
      dtype: 'bfloat16',
    });
  });

  it('takes the 16-bit type of the base, and where it has none F16, for Gemma BF16', () => {
    const stored = (type: 'BF16' | 'Q8_0', of = model): ModelSource => ({ ...of, tensors: new Map([...of.tensors].map(([name, tensor]) => [name, { ...tensor, type }])) });
    const gemma = randomModel(FAMILY_CONFIGS.find(({ model_type }) => model_type === 'gemma2')!);
    expect([stored('BF16'), stored('Q8_0'), model, stored('Q8_0', gemma)].map(ownFloatType)).toEqual(['BF16', 'F16', 'F16', 'BF16']);
  });

  it('refuses F16 for a weight that is too large for it', async () => {
    const name = 'model.norm.weight';
    const weights = new Map([[name, new Float32Array(64).fill(70000)]]);
    await expect(writtenFiles(await folderFiles({ model, weights, type: 'F16' }))).rejects.toThrow('model.norm.weight has values above 65504, which F16 cannot hold; export as BF16 or F32');
    await writtenFiles(await folderFiles({ model, weights, type: 'BF16' }));
  });
});

describe('shards', () => {
  it('end where the next weight would pass the limit, with an index, and open as one model', async () => {
    const files = await writtenFiles(await folderFiles({ model, type: 'F16' }, 50_000), 'sharded');
    const weights = files.filter(({ name }) => name.endsWith('.safetensors'));
    expect(weights.length).toBeGreaterThan(2);
    expect(weights[0]!.name).toBe(`sharded/model-00001-of-0000${weights.length}.safetensors`);
    const index = await jsonOf(files.find(({ name }) => name.endsWith('index.json'))!);
    const map = index['weight_map'] as Record<string, string>;
    expect(Object.keys(map).sort()).toEqual([...model.tensors.keys()].sort());
    let total = 0;
    for (const source of weights) {
      const { tensors } = await readSafetensors(source);
      const bytes = [...tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
      expect(bytes).toBeLessThanOrEqual(50_000);
      for (const name of tensors.keys()) expect(`sharded/${map[name]}`).toBe(source.name);
      total += bytes;
    }
    expect(index['metadata']).toEqual({ total_size: total });
    expect((await openModel(files)).tensors.size).toBe(model.tensors.size);
  });

  it('of an 8B model in 16 bits are 2 GB long, with offsets past 2^31 where a weight is', () => {
    const config: ModelConfig = {
      ...TINY,
      hidden_size: 4096,
      intermediate_size: 14336,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      head_dim: 128,
      vocab_size: 128256,
      rope_factors: null,
    };
    const parts = shards({ ...model, config }, 'BF16');
    const sizes = parts.map(({ tensors }) => tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 2), 0));
    expect(parts.map(({ name }) => name)).toContain('model-00009-of-00009.safetensors');
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2e9);
    expect(sizes.reduce((a, b) => a + b, 0)).toBe(16060522496);
    // 4-byte weights of a 256k vocabulary pass the limit by themselves.
    const huge = shards({ ...model, config: { ...config, vocab_size: 262144 } }, 'F32');
    expect(huge[0]!.tensors.map(({ name }) => name)).toEqual(['model.embed_tokens.weight']);
  });
});

describe('an MLX adapter', () => {
  it('has A and B transposed under mlx-lm\'s names, and the scale as a number', async () => {
    const adapter = randomAdapter(TINY, { r: 4, lora_alpha: 12 });
    const [config, weights] = await writtenFiles(mlxFiles(adapter, TINY));
    expect(await jsonOf(config!)).toEqual({
      fine_tune_type: 'lora',
      num_layers: 3,
      lora_parameters: { rank: 4, scale: 3, dropout: 0, keys: expect.arrayContaining(['self_attn.q_proj', 'mlp.down_proj']) as unknown },
    });
    const { tensors } = await readSafetensors(weights!);
    expect(tensors.get('model.layers.1.mlp.down_proj.lora_a')!.shape).toEqual([96, 4]);
    expect(tensors.get('model.layers.1.mlp.down_proj.lora_b')!.shape).toEqual([4, 64]);
    const info = tensors.get('model.layers.0.self_attn.v_proj.lora_b')!;
    const written = dequantize('F32', await weights!.read(info.offset, info.bytes));
    const { data, shape } = adapter.tensors.get(peftName('model.layers.0.self_attn.v_proj', 'B'))!;
    for (let row = 0; row < shape[0]; row++) for (let k = 0; k < 4; k++) expect(written[k * shape[0] + row]).toBe(data[row * 4 + k]);
  });

  it('gives all modules one rank, filled up with zeros, and one scale, what differs folded into B; reads back as the same change', async () => {
    const adapter = randomAdapter(TINY, { r: 4, use_rslora: true, use_dora: true, rank_pattern: { v_proj: 7 }, alpha_pattern: { up_proj: 2 } });
    const read = await readMlxAdapter(await writtenFiles(mlxFiles(adapter, TINY)), TINY);
    expect(read.config).toMatchObject({ r: 7, use_dora: true });
    for (const path of adaptedPaths(adapter)) {
      const [meant, found] = [adapter, read].map((one) => one.tensors.get(peftName(path, 'B'))!) as [AdapterTensor, AdapterTensor];
      expect(found.shape).toEqual([meant.shape[0], 7]);
      const [wanted, is] = [loraScale(adapter.config, path), loraScale(read.config, path)];
      found.data.forEach((value, i) => {
        const [row, k] = [Math.floor(i / 7), i % 7];
        expect(value * is).toBeCloseTo(k < meant.shape[1] ? wanted * meant.data[row * meant.shape[1] + k]! : 0, 5);
      });
      expect(read.magnitudes.get(path)).toEqual(adapter.magnitudes.get(path));
    }
  });

  it.each([
    ['another kind of tuning', { fine_tune_type: 'full' }, 'fine_tune_type is full'],
    ['no settings', { lora_parameters: null }, 'the key lora_parameters is missing'],
  ])('with %s is refused in words', async (_, change, sentence) => {
    const [config, weights] = await writtenFiles(mlxFiles(randomAdapter(TINY), TINY));
    const changed = new MemorySource(new TextEncoder().encode(JSON.stringify({ ...(await jsonOf(config!)), ...change })), config!.name);
    await expect(readMlxAdapter([changed, weights!], TINY)).rejects.toThrow(sentence);
  });
});

describe('a type that a base has not', () => {
  it('is rounded once from the merge, never over another type', async () => {
    const adapter = randomAdapter(TINY);
    const again = await openModel(await writtenFiles(await folderFiles({ model, adapter, type: 'BF16' }), 'x'));
    const name = 'model.layers.2.mlp.gate_proj.weight';
    const merged = mergedModel(model, { adapter }).tensors.get(name)!;
    const expected = quantize('BF16', dequantize('F32', await merged.readRows(0, 96)));
    expect(Buffer.compare(await again.tensors.get(name)!.readRows(0, 96), expected)).toBe(0);
  });
});

describe('a GGUF file of an 8B model', () => {
  it('has each weight where the ones before it end, past 2^31 and 2^32 bytes', async () => {
    const config: ModelConfig = { ...TINY, hidden_size: 4096, intermediate_size: 14336, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 8, head_dim: 128, vocab_size: 128256, rope_factors: null };
    const { metadata, tensors, bytes } = mergedLayout({ model: { ...model, config, tokenizer: null }, name: 'large', type: 'F16' });
    const header = ggufHeader(metadata, tensors);
    const read = (offset: number, length: number): Promise<Uint8Array> => Promise.resolve(header.slice(offset, offset + length));
    const parsed = await readGguf({ name: 'large.gguf', size: bytes, read });
    let at = header.byteLength;
    for (const { offset, bytes: length } of parsed.tensors.values()) {
      expect(offset).toBe(at);
      at = offset + Math.ceil(length / 32) * 32;
    }
    expect(at).toBe(bytes);
    expect(bytes).toBeGreaterThan(3 * 2 ** 32);
  });
});
