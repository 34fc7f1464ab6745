import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemorySink, MemorySource, type ByteSource } from '../../src/core/bytes';
import { HoneError } from '../../src/core/errors';
import { expectedTensors } from '../../src/core/layout';
import { PLAIN_ATTENTION, type ModelConfig } from '../../src/core/model';
import { openSafetensorsModel } from '../../src/safetensors/model';
import { readSafetensors } from '../../src/safetensors/reader';
import { SafetensorsWriter, safetensorsSize, writeFloat32Tensors } from '../../src/safetensors/writer';
import { TINY } from '../fixtures';

const encoder = new TextEncoder();
const source = (bytes: Uint8Array | string, name = 'model.safetensors'): ByteSource =>
  new MemorySource(typeof bytes === 'string' ? encoder.encode(bytes) : bytes, name);

/** A file with a given header and `data` zero bytes. */
function file(header: unknown, data = 0): Uint8Array {
  const json = encoder.encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const CONFIG = {
  model_type: 'llama',
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 40,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  bos_token_id: 1,
  eos_token_id: [2, 3],
  tie_word_embeddings: true,
};

async function weights(config: Partial<ModelConfig> = {}, keep: (name: string) => boolean = () => true): Promise<Uint8Array> {
  const shapes = expectedTensors({ ...TINY, ...CONFIG, head_dim: 16, rope_factors: null, ...config });
  const tensors = new Map([...shapes].filter(([name]) => keep(name)).map(([name, shape]) => [name, { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) }]));
  const sink = new MemorySink();
  await writeFloat32Tensors(sink, tensors);
  return sink.bytes();
}

describe('what the writer wrote', () => {
  it('is read back', async () => {
    const sink = new MemorySink();
    const plans = [
      { name: 'a', type: 'F32', shape: [2, 1] },
      { name: 'b', type: 'BF16', shape: [3] },
    ] as const;
    const writer = await SafetensorsWriter.start(sink, plans, { format: 'pt' });
    await writer.append(Uint8Array.of(1, 2, 3, 4));
    expect(() => writer.finish()).toThrow('10 bytes of tensor data are missing');
    await writer.append(Uint8Array.of(5, 6, 7, 8, 9, 10, 11, 12, 13, 14));
    writer.finish();
    await expect(writer.append(Uint8Array.of(1))).rejects.toThrow('1 bytes more than announced');
    const bytes = sink.bytes();
    expect(bytes.byteLength).toBe(safetensorsSize(plans, { format: 'pt' }));
    const { metadata, tensors } = await readSafetensors(source(bytes));
    expect(metadata).toEqual({ format: 'pt' });
    const b = tensors.get('b')!;
    expect(b).toMatchObject({ type: 'BF16', shape: [3], bytes: 6 });
    expect(bytes.slice(b.offset, b.offset + b.bytes)).toEqual(Uint8Array.of(9, 10, 11, 12, 13, 14));
    expect(tensors.get('a')!.offset % 8).toBe(0);
  });
});

describe('a damaged file is refused in one sentence', () => {
  const entry = (dtype: unknown, shape: unknown, offsets: unknown): object => ({ w: { dtype, shape, data_offsets: offsets } });
  const cases: [string, Uint8Array, string][] = [
    ['empty', new Uint8Array(3), 'has 3 bytes'],
    ['with a header past its end', file('{}').map((byte, i) => (i === 1 ? 200 : byte)), 'the header claims 51202 bytes in a file of 10'],
    ['with a header of 2^63 bytes', file('{}').map((byte, i) => (i === 7 ? 128 : byte)), 'Git LFS pointer'],
    ['whose header is no JSON', file('{"w":'), 'the header is not JSON'],
    ['whose header is a list', file([1, 2, 3]), 'not a JSON object'],
    ['with an unknown type', file(entry('Q9', [1], [0, 4]), 4), 'tensor w has the unknown type Q9'],
    ['with a negative size', file(entry('F32', [-1], [0, 4]), 4), 'no shape of whole numbers'],
    ['with falling offsets', file(entry('F32', [1], [8, 4]), 8), 'two rising numbers'],
    ['with offsets that do not fit the shape', file(entry('F32', [3], [0, 4]), 4), 'takes 12 bytes, and 4 are set aside'],
    ['cut short', file(entry('F32', [3], [0, 12]), 4), 'and the file has'],
    ['with overlapping tensors', file({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] }, b: { dtype: 'F32', shape: [2], data_offsets: [4, 12] } }, 12), 'tensors a and b overlap'],
    ['with null for a tensor', file({ w: null }), 'unknown type undefined'],
    ['with metadata that are no texts', file({ __metadata__: { a: 1 } }), '__metadata__ is not'],
  ];
  it.each(cases)('%s', async (_, bytes, sentence) => {
    const error: unknown = await readSafetensors(source(bytes)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HoneError);
    expect((error as HoneError).message).toContain(sentence);
    expect((error as HoneError).message).toMatch(/^model\.safetensors: /);
  });
});

describe('a model folder', () => {
  const open = async (config: object, more: ByteSource[] = [], bytes?: Uint8Array): ReturnType<typeof openSafetensorsModel> =>
    openSafetensorsModel([source(JSON.stringify(config), 'folder/config.json'), source(bytes ?? (await weights())), ...more]);

  it('gives the config with defaults, and end tokens of config and generation config', async () => {
    const model = await open(CONFIG, [source('{"eos_token_id": 5}', 'generation_config.json')]);
    expect(model.name).toBe('folder');
    expect(model.config).toEqual({ ...PLAIN_ATTENTION, ...CONFIG, head_dim: 16, rope_theta: 10000, eos_token_id: [5, 2, 3] });
  });

  it('takes rope settings in the spellings of transformers 4 and 5', async () => {
    const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 32 };
    const old = await open({ ...CONFIG, rope_theta: 500, rope_scaling: { ...llama3, rope_type: 'llama3' } });
    const young = await open({ ...CONFIG, rope_parameters: { ...llama3, rope_type: 'llama3', rope_theta: 500 } });
    expect(old.config.rope_factors).toHaveLength(8);
    expect(old.config).toEqual(young.config);
    expect(old.config.rope_theta).toBe(500);
    // λ = 2π for the first frequency is below 32 / 4, λ = 2π · 500^(7/8) for the last above 32.
    expect(old.config.rope_factors?.[0]).toBe(1);
    expect(old.config.rope_factors?.[7]).toBe(8);
    expect((await open({ ...CONFIG, rope_scaling: { type: 'linear', factor: 2 } })).config.rope_factors).toEqual(new Array(8).fill(2));
  });

  it('reads shards through their index', async () => {
    const first = (name: string): boolean => name.includes('mlp');
    const files = [
      source(await weights({}, first), 'model-00001-of-00002.safetensors'),
      source(await weights({}, (name) => !first(name)), 'model-00002-of-00002.safetensors'),
    ];
    const map = { 'model.norm.weight': 'model-00002-of-00002.safetensors', 'model.layers.0.mlp.up_proj.weight': 'model-00001-of-00002.safetensors' };
    const index = source(JSON.stringify({ weight_map: map }), 'model.safetensors.index.json');
    const config = source(JSON.stringify(CONFIG), 'config.json');
    const model = await openSafetensorsModel([config, index, ...files]);
    expect(model.tensors.size).toBe(expectedTensors(model.config).size);
    await expect(openSafetensorsModel([config, index, files[0]!])).rejects.toThrow('model-00002-of-00002.safetensors is named and missing');
    await expect(openSafetensorsModel([config, ...files])).rejects.toThrow('without model.safetensors.index.json');
  });

  it('takes the template from its own file before the tokenizer config, and of several the default', async () => {
    const config = source('{"chat_template": [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]}', 'tokenizer_config.json');
    expect((await open(CONFIG, [config])).chatTemplate).toBe('D');
    expect((await open(CONFIG, [config, source('J', 'chat_template.jinja')])).chatTemplate).toBe('J');
  });

  const broken: [string, object, string][] = [
    ['without a needed key', { hidden_size: undefined }, 'the key hidden_size is missing'],
    ['with a text for a number', { vocab_size: 'many' }, 'vocab_size is "many", and a number was expected'],
    ['of another type', { model_type: 'mamba' }, 'model_type is mamba, and Hone trains llama'],
    ['with biases that its weights lack', { attention_bias: true }, 'model.layers.0.self_attn.q_proj.bias is missing'],
    ['with another activation', { hidden_act: 'gelu' }, 'hidden_act is gelu'],
    ['with yarn', { rope_scaling: { rope_type: 'yarn', factor: 4 } }, 'the rope scaling is yarn'],
    ['with half a layer', { num_hidden_layers: 1.5 }, 'num_hidden_layers is 1.5'],
    ['with heads that do not divide', { num_attention_heads: 3, num_key_value_heads: 2, head_dim: 16 }, '3 query heads cannot share 2'],
    ['with more layers than weights', { num_hidden_layers: 2 }, 'model.layers.1.input_layernorm.weight is missing'],
    ['with other sizes than the weights', { intermediate_size: 64 }, 'gate_proj.weight has the shape 48 × 32, and the model'],
    ['with an end token outside the vocabulary', { eos_token_id: 40 }, 'token id 40 lies outside'],
    ['quantised for another library', { quantization_config: { quant_method: 'gptq' } }, 'quantised for another library'],
  ];
  it.each(broken)('%s is refused in one sentence', async (_, change, sentence) => {
    const error: unknown = await open({ ...CONFIG, ...change }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HoneError);
    expect((error as HoneError).message).toContain(sentence);
    expect((error as HoneError).message).toContain('config.json');
  });

  it('with a weight too many is refused by its name', async () => {
    const untied = await weights({ tie_word_embeddings: false });
    await expect(open(CONFIG, [], await weights({ num_hidden_layers: 2 }))).rejects.toThrow('model.layers.1.input_layernorm.weight has no place');
    // A tied model's copy of its head is not a weight too many, and never read.
    expect((await open(CONFIG, [], untied)).tensors.has('lm_head.weight')).toBe(false);
    expect((await open({ ...CONFIG, tie_word_embeddings: undefined }, [], untied)).config.tie_word_embeddings).toBe(false);
  });

  it('without a config, or with a tokenizer of another model, is refused', async () => {
    await expect(openSafetensorsModel([source(await weights())])).rejects.toThrow('config.json is missing beside model.safetensors');
    const tokenizer = source('{"model": {"type": "BPE", "vocab": {"a": 0, "b": 41}}}', 'tokenizer.json');
    await expect(open(CONFIG, [tokenizer])).rejects.toThrow('has the id 41, and the embedding has 40 rows');
    const added = (content: string) => source(JSON.stringify({ model: { type: 'BPE', vocab: { a: 0 } }, added_tokens: [{ id: 40, content }] }), 'tokenizer.json');
    await expect(open(CONFIG, [added('<tool>')])).rejects.toThrow('has the id 40');
    // Gemma 3's text models have a token for pictures past their embedding.
    expect((await open(CONFIG, [added('<image_soft_token>')])).tokenizer).toMatchObject({ tokenizer: { added_tokens: [] } });
    await expect(open(CONFIG, [source('{]', 'tokenizer.json')])).rejects.toThrow('tokenizer.json: the file is not JSON');
  });
});

describe('any bytes', () => {
  const attempt = async (bytes: Uint8Array): Promise<void> => {
    try {
      await openSafetensorsModel([source(JSON.stringify(CONFIG), 'config.json'), source(bytes)]);
    } catch (error) {
      if (!(error instanceof HoneError)) throw error;
    }
  };
  it('give an error of their own, never a hang or a crash: random and random JSON', async () => {
    await fc.assert(fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.json().map((json) => file(json, 16))), attempt), { numRuns: 500 });
  });
  it('give an error of their own or a model: a real file, mutated', async () => {
    const whole = await weights();
    const mutation = fc.record({ at: fc.nat(1200), byte: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 4 }), async (mutations) => {
        const copy = whole.slice();
        for (const { at, byte } of mutations) copy[at] = byte;
        await attempt(copy);
      }),
      { numRuns: 1000 },
    );
  });
  it('as a config give an error of their own or a model', async () => {
    const keys = Object.keys(CONFIG) as (keyof typeof CONFIG)[];
    const bytes = await weights();
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...keys, 'head_dim', 'rope_theta', 'rope_scaling', 'rope_parameters'), fc.jsonValue(), async (key, value) => {
        try {
          await openSafetensorsModel([source(JSON.stringify({ ...CONFIG, [key]: value }), 'config.json'), source(bytes)]);
        } catch (error) {
          if (!(error instanceof HoneError)) throw error;
        }
      }),
      { numRuns: 1000 },
    );
  });
  it('as a tokenizer, its config, or an index give an error of their own or a model', async () => {
    const bytes = await weights();
    const tokenizer = fc.record({ model: fc.oneof(fc.jsonValue(), fc.record({ vocab: fc.jsonValue() })), added_tokens: fc.jsonValue() }, { requiredKeys: [] });
    const config = fc.record({ chat_template: fc.jsonValue() }, { requiredKeys: [] });
    const index = fc.record({ weight_map: fc.oneof(fc.jsonValue(), fc.constant({ a: 'model.safetensors' })) }, { requiredKeys: [] });
    await fc.assert(
      fc.asyncProperty(tokenizer, config, fc.option(index), async (...contents) => {
        const names = ['tokenizer.json', 'tokenizer_config.json', 'model.safetensors.index.json'];
        const more = contents.flatMap((content, i) => (content === null ? [] : [source(JSON.stringify(content), names[i])]));
        try {
          await openSafetensorsModel([source(JSON.stringify(CONFIG), 'config.json'), source(bytes), ...more]);
        } catch (error) {
          if (!(error instanceof HoneError)) throw error;
        }
      }),
      { numRuns: 1000 },
    );
  });
});
