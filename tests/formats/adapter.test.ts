import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemorySink, MemorySource, type ByteSource } from '../../src/core/bytes';
import { HoneError } from '../../src/core/errors';
import { peftFiles } from '../../src/exports/peft';
import { readAdapter } from '../../src/formats/adapter';
import { openModel } from '../../src/formats/open-model';
import { SafetensorsWriter } from '../../src/safetensors/writer';
import { fileSource, folderSources } from '../files';
import { TINY, randomAdapter, writtenFiles } from '../fixtures';
import { referenceLogits } from '../reference/decoder';
import { shared } from '../shared';

const encoder = new TextEncoder();
const adapter = randomAdapter(TINY, { r: 3 });
const card = { name: 'test', baseModel: 'org/base', facts: [] };

/** The files that the export writes, with changes to their config. */
async function files(change: object = {}, of = adapter): Promise<ByteSource[]> {
  const sources = await writtenFiles(peftFiles({ adapter: of, card }), 'folder');
  return Promise.all(
    sources.map(async (source) => {
      if (!source.name.endsWith('adapter_config.json')) return source;
      const json = JSON.parse(Buffer.from(await source.read(0, source.size)).toString()) as object;
      return new MemorySource(encoder.encode(JSON.stringify({ ...json, ...change })), source.name);
    }),
  );
}

describe('a PEFT adapter', () => {
  it('is read back as it was exported', async () => {
    expect(await readAdapter(await files(), TINY)).toEqual({ ...adapter, tensors: new Map([...adapter.tensors].sort(([a], [b]) => (a < b ? -1 : 1))) });
  });

  it('may be stored in bfloat16, have a fractional alpha, and name modules by their path', async () => {
    const sink = new MemorySink();
    const names = ['A', 'B'].map((half) => `base_model.model.model.layers.0.mlp.up_proj.lora_${half}.weight`);
    const plans = [
      { name: names[0]!, type: 'BF16', shape: [1, 2] },
      { name: names[1]!, type: 'BF16', shape: [2, 1] },
    ] as const;
    const writer = await SafetensorsWriter.start(sink, plans);
    await writer.append(Uint8Array.of(0x80, 0x3f, 0x00, 0xc0, 0x00, 0x3f, 0x00, 0x00));
    const config = { peft_type: 'LORA', r: 1, lora_alpha: 1.5, target_modules: ['model.layers.0.mlp.up_proj'], use_rslora: null };
    const read = await readAdapter([new MemorySource(encoder.encode(JSON.stringify(config)), 'adapter_config.json'), new MemorySource(sink.bytes(), 'adapter_model.safetensors')]);
    expect(read.config).toEqual({ r: 1, lora_alpha: 1.5, lora_dropout: 0, target_modules: ['up_proj'], use_rslora: false, use_dora: false, rank_pattern: {}, alpha_pattern: {} });
    expect(read.tensors.get(names[0]!)).toEqual({ shape: [1, 2], data: Float32Array.of(1, -2) });
    expect(read.tensors.get(names[1]!)).toEqual({ shape: [2, 1], data: Float32Array.of(0.5, 0) });
  });

  const refused: [string, object, string][] = [
    ['DoRA without magnitudes', { use_dora: true }, 'lacks the lora_magnitude_vector of model.layers.0.mlp.down_proj'],
    ['whole modules', { modules_to_save: ['lm_head'] }, 'modules_to_save'],
    ['biases', { bias: 'all' }, 'bias: all'],
    ['another kind', { peft_type: 'IA3' }, 'peft_type IA3'],
    ['ranks by module that its tensors have not', { rank_pattern: { q_proj: 8 } }, 'q_proj.lora_A.weight has rank 3, and the config says r = 8'],
    ['a pattern that could take forever', { rank_pattern: { '(a+)+': 8 } }, 'has the pattern (a+)+, which repeats a group'],
    ['a rank that is none', { rank_pattern: { q_proj: 0.5 } }, 'rank_pattern has 0.5 for q_proj'],
    ['a start that changed the base', { init_lora_weights: 'pissa_niter_16' }, 'began as pissa_niter_16'],
    ['trained tokens', { trainable_token_indices: [1] }, 'trainable_token_indices'],
    ['modules that Hone does not adapt', { target_modules: ['q_proj', 'embed_tokens'] }, 'target_modules names embed_tokens'],
    ['an expression that only looks like one in brackets', { target_modules: '?!' }, 'is no regular expression'],
    ['a rank other than its tensors', { r: 4 }, 'has rank 3, and the config says r = 4'],
    ['fewer target modules than tensors', { target_modules: ['q_proj'] }, 'is no LoRA matrix of its target_modules'],
    ['no rank', { r: null }, 'the key r is missing'],
    ['a rank of half', { r: 0.5 }, 'the rank r is 0.5'],
    ['an alpha of zero', { lora_alpha: 0 }, 'lora_alpha is 0'],
  ];
  it.each(refused)('with %s is refused in one sentence', async (_, change, sentence) => {
    await expect(readAdapter(await files(change), TINY)).rejects.toThrow(sentence);
  });

  it('with any value under any key of its config gives an error of its own or an adapter', async () => {
    const keys = ['peft_type', 'r', 'lora_alpha', 'lora_dropout', 'target_modules', 'use_rslora', 'use_dora', 'bias', 'modules_to_save', 'rank_pattern'];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...keys), fc.jsonValue(), async (key, value) => {
        try {
          await readAdapter(await files({ [key]: value }), TINY);
        } catch (error) {
          if (!(error instanceof HoneError)) throw error;
        }
      }),
      { numRuns: 300 },
    );
  });

  it('for another model is refused by the first tensor that differs', async () => {
    await expect(readAdapter(await files(), { ...TINY, intermediate_size: 100 })).rejects.toThrow(
      'layers.0.mlp.gate_proj.lora_B.weight has the shape 96 × 3, and the model asks for 100 × 3',
    );
    await expect(readAdapter(await files(), { ...TINY, num_hidden_layers: 4 })).rejects.toThrow('lacks base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight');
    await expect(readAdapter(await files(), { ...TINY, num_hidden_layers: 2 })).rejects.toThrow('it has no model.layers.2.mlp.down_proj');
    await expect(readAdapter((await files()).slice(1))).rejects.toThrow('adapter_model.safetensors is missing');
  });

  it('is written with an integer alpha and the hub id, in the keys that PEFT reads', async () => {
    const config = (await files()).find(({ name }) => name.endsWith('adapter_config.json'))!;
    const json = JSON.parse(Buffer.from(await config.read(0, config.size)).toString()) as object;
    expect(json).toMatchObject({ peft_type: 'LORA', task_type: 'CAUSAL_LM', lora_alpha: 8, r: 3, bias: 'none', base_model_name_or_path: 'org/base', use_rslora: false });
  });
});

const golden = shared('goldens/training/tiny-llama');
describe.skipIf(!golden)("PyTorch's trained adapter on tiny-llama (skipped without ../shared/goldens)", () => {
  it("gives the f64 reference PyTorch's logits after training", async () => {
    const trained = JSON.parse(readFileSync(`${golden}/case.json`, 'utf8')) as {
      lora: object;
      logits: { input_ids: number[] };
      trained_logits_top8: [number, number][];
    };
    const tensors = await fileSource(`${golden}/lora_final.safetensors`);
    const model = await openModel(await folderSources(shared('models/tiny-llama')!, /json$|safetensors$/));
    const config = new MemorySource(encoder.encode(JSON.stringify({ peft_type: 'LORA', ...trained.lora })), 'adapter_config.json');
    const read = await readAdapter([config, { name: 'adapter_model.safetensors', size: tensors.size, read: (o, l) => tensors.read(o, l) }], model.config);
    const last = (await referenceLogits(model, trained.logits.input_ids, read)).at(-1)!;
    // f64 against f64; the adapter was stored in f32, which moves logits by about 1e-7.
    for (const [token, logit] of trained.trained_logits_top8) expect(Math.abs(last[token]! - logit)).toBeLessThan(1e-5);
  });
});

describe('files that are no model', () => {
  const open = (name: string, content: string): Promise<unknown> => openModel([new MemorySource(encoder.encode(content), name)]);
  it('are refused with what they are and what to choose', async () => {
    await expect(openModel([])).rejects.toThrow('no file was chosen');
    await expect(open('pytorch_model.bin', 'PK\u0003\u0004')).rejects.toThrow('pytorch_model.bin: the file is a zip archive or a PyTorch');
    await expect(open('model.gguf', 'version https://git-lfs.github.com/spec/v1')).rejects.toThrow('Git LFS pointer');
    await expect(open('model.gguf', '<!doctype html>')).rejects.toThrow('web page');
    await expect(open('notes.txt', 'hello')).rejects.toThrow('choose a .gguf file, or a folder');
    const two = ['a.gguf', 'b.gguf'].map((name) => new MemorySource(encoder.encode('GGUF'), name));
    await expect(openModel(two)).rejects.toThrow('2 GGUF files were chosen (a.gguf, b.gguf)');
  });
});
