import { describe, expect, it } from 'vitest';
import { openAsBlob } from 'node:fs';
import { BlobSource } from '../../src/core/bytes';
import { dequantize } from '../../src/core/blocks';
import { PLAIN_ATTENTION } from '../../src/core/model';
import { openGguf, openGgufVocabulary } from '../../src/gguf/model';
import { openSafetensorsModel } from '../../src/safetensors/model';
import { fileSource, folderSources } from '../files';
import { shared } from '../shared';

const stories = shared('models/stories260K/stories260K-f32.gguf');
const smollm = shared('models/SmolLM2-135M-Instruct.Q4_1.gguf');
const vocabulary = shared('tokenizers/qwen2.gguf');

describe.skipIf(!stories)('stories260K as GGUF (skipped without ../shared/models)', () => {
  it('has the config and the weights of its safetensors twin, q and k rows back in order', async () => {
    const model = await openGguf(await fileSource(stories!));
    const twin = await openSafetensorsModel(await folderSources(shared('models/stories260K')!, /config\.json|\.safetensors$/));
    expect({ ...model.config, eos_token_id: [2] }).toEqual(twin.config);
    expect([...model.tensors.keys()].sort()).toEqual([...twin.tensors.keys()].sort());
    for (const [name, tensor] of model.tensors) {
      const other = twin.tensors.get(name)!;
      expect(tensor.shape, name).toEqual(other.shape);
      const rows = tensor.shape.length === 1 ? 1 : tensor.shape[0]!;
      const values = dequantize(tensor.type, await tensor.readRows(0, rows));
      expect(values, name).toEqual(dequantize(other.type, await other.readRows(0, rows)));
    }
  });

  it('gives any range of interleaved rows as a part of the whole', async () => {
    const model = await openGguf(await fileSource(stories!));
    const k = model.tensors.get('model.layers.2.self_attn.k_proj.weight')!;
    const whole = await k.readRows(0, 32);
    const stride = whole.byteLength / 32;
    for (const [first, count] of [
      [0, 1],
      [3, 7],
      [8, 8],
      [13, 19],
      [31, 1],
      [5, 0],
    ] as const) {
      expect(await k.readRows(first, count)).toEqual(whole.slice(first * stride, (first + count) * stride));
    }
    await expect(k.readRows(30, 3)).rejects.toThrow('32 rows');
  });

  it('has a tokenizer of the llama kind', async () => {
    const model = await openGguf(await fileSource(stories!));
    if (model.tokenizer?.kind !== 'gguf') throw new Error('no GGUF tokenizer');
    expect(model.tokenizer.keys.model).toBe('llama');
    expect(model.tokenizer.keys.tokens).toHaveLength(512);
    expect(model.tokenizer.keys.scores).toHaveLength(512);
    expect(model.tokenizer.keys.bos_token_id).toBe(1);
  });
});

describe.skipIf(!smollm)('SmolLM2-135M-Instruct as Q4_1 (skipped without ../shared/models)', () => {
  it('opens with config, types, template and end tokens, reading a few megabytes', async () => {
    const blob = new BlobSource(await openAsBlob(smollm!), 'smollm2.gguf');
    let read = 0;
    const counted = { name: blob.name, size: blob.size, read: (offset: number, length: number) => ((read += length), blob.read(offset, length)) };
    const model = await openGguf(counted);
    expect(model.config).toEqual({
      ...PLAIN_ATTENTION,
      model_type: 'llama',
      hidden_size: 576,
      intermediate_size: 1536,
      num_hidden_layers: 30,
      num_attention_heads: 9,
      num_key_value_heads: 3,
      head_dim: 64,
      vocab_size: 49152,
      max_position_embeddings: 8192,
      rms_norm_eps: 1e-5,
      rope_theta: 100000,
      tie_word_embeddings: true,
      bos_token_id: 1,
      eos_token_id: [2, 0],
    });
    expect(model.tensors.get('model.embed_tokens.weight')!.type).toBe('Q8_0');
    expect(model.tensors.get('model.layers.7.mlp.down_proj.weight')).toMatchObject({ type: 'Q4_1', shape: [576, 1536] });
    expect(model.chatTemplate).toContain('<|im_start|>');
    expect(read).toBeLessThan(4e6);
  });
});

describe.skipIf(!vocabulary)('a vocabulary-only GGUF (skipped without ../shared/tokenizers)', () => {
  it('gives its tokenizer and refuses to be a model', async () => {
    const source = await fileSource(vocabulary!);
    const { tokenizer, chatTemplate } = await openGgufVocabulary(source);
    expect(tokenizer.pre).toBe('qwen2');
    expect(tokenizer.tokens).toHaveLength(151936);
    expect(tokenizer.merges).toHaveLength(151387);
    expect(chatTemplate).toContain('<|im_start|>');
    await expect(openGguf(source)).rejects.toThrow('token_embd.weight is missing, so the file holds no weights');
  });
});
