import { describe, expect, it } from 'vitest';
import { FILE_TYPES, type FileType, type ModelConfig, type WeightType } from '../../src/core/model';
import { fileTypeId, tensorType } from '../../src/gguf/file-types';
import { TINY } from '../fixtures';

/** Llama 3.2 1B: rows of whole blocks of 256 everywhere, a tied head. */
const LLAMA_1B: ModelConfig = {
  ...TINY,
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  vocab_size: 128256,
  tie_word_embeddings: true,
};

/** The layers in which a tensor of rows of 2048 gets a type. */
function layersOf(fileType: FileType, tensor: string, type: WeightType, config = LLAMA_1B, architecture = 'llama'): number[] {
  const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => layer);
  return layers.filter((layer) => tensorType(fileType, { name: `blk.${layer}.${tensor}.weight`, dims: [2048, 512] }, architecture, config) === type);
}
const typeOf = (fileType: FileType, name: string, columns: number, config = LLAMA_1B): WeightType =>
  tensorType(fileType, { name, dims: [columns, 2048] }, 'llama', config);

const EVERY = Array.from({ length: 16 }, (_, layer) => layer);

describe('the types of tensors in quantised files', () => {
  it('F32 for vectors, norms and biases, whatever the file', () => {
    for (const fileType of FILE_TYPES) {
      expect(tensorType(fileType, { name: 'blk.0.attn_norm.weight', dims: [2048] }, 'llama', LLAMA_1B)).toBe('F32');
      expect(tensorType(fileType, { name: 'rope_freqs.weight', dims: [32] }, 'llama', LLAMA_1B)).toBe('F32');
      expect(tensorType(fileType, { name: 'blk.0.attn_q.bias', dims: [2048] }, 'qwen2', LLAMA_1B)).toBe('F32');
      expect(tensorType(fileType, { name: 'blk.0.attn_v.weight', dims: [2048, 1] }, 'llama', LLAMA_1B)).toBe('F32');
    }
  });

  it.each([
    ['Q4_K_M', 'Q4_K'],
    ['Q5_K_M', 'Q5_K'],
  ] as const)('%s: attn_v and ffn_down are Q6_K in the outer eighths and every third layer between, all else %s', (fileType, base) => {
    const upgraded = [0, 1, 4, 7, 10, 13, 14, 15];
    for (const tensor of ['attn_v', 'attn_qkv', 'ffn_down']) {
      expect(layersOf(fileType, tensor, 'Q6_K')).toEqual(upgraded);
      expect(layersOf(fileType, tensor, base)).toEqual(EVERY.filter((layer) => !upgraded.includes(layer)));
    }
    for (const tensor of ['attn_q', 'attn_k', 'attn_output', 'ffn_gate', 'ffn_up']) expect(layersOf(fileType, tensor, base)).toEqual(EVERY);
  });

  it('Q4_K_S: attn_v is Q5_K in four layers, ffn_down in an eighth of them; Q5_K_S: no layer is better than another', () => {
    expect(layersOf('Q4_K_S', 'attn_v', 'Q5_K')).toEqual([0, 1, 2, 3]);
    expect(layersOf('Q4_K_S', 'ffn_down', 'Q5_K')).toEqual([0, 1]);
    expect(layersOf('Q4_K_S', 'ffn_up', 'Q4_K')).toEqual(EVERY);
    for (const tensor of ['attn_v', 'ffn_down', 'attn_q']) expect(layersOf('Q5_K_S', tensor, 'Q5_K')).toEqual(EVERY);
  });

  it('the head is Q6_K, or Q8_0 in Q8_0 files; the embedding is the head where they are tied', () => {
    const untied = { ...LLAMA_1B, tie_word_embeddings: false };
    for (const fileType of ['Q6_K', 'Q5_K_M', 'Q5_1', 'Q5_0', 'Q4_K_S', 'Q4_1', 'Q4_0'] as const) {
      expect(typeOf(fileType, 'token_embd.weight', 2048)).toBe('Q6_K');
      expect(typeOf(fileType, 'output.weight', 2048, untied)).toBe('Q6_K');
    }
    expect(typeOf('Q4_K_M', 'token_embd.weight', 2048, untied)).toBe('Q4_K');
    expect(typeOf('Q4_0', 'token_embd.weight', 2048, untied)).toBe('Q4_0');
    expect(typeOf('Q8_0', 'token_embd.weight', 2048)).toBe('Q8_0');
    expect(typeOf('BF16', 'token_embd.weight', 2048)).toBe('BF16');
  });

  it('rows that fill no blocks of 256 take the type of blocks of 32 above; rows that fill none F16', () => {
    expect(typeOf('Q4_K_M', 'blk.2.attn_q.weight', 896)).toBe('Q5_0');
    expect(typeOf('Q5_K_M', 'blk.2.attn_q.weight', 896)).toBe('Q5_1');
    expect(typeOf('Q6_K', 'blk.2.attn_q.weight', 896)).toBe('Q8_0');
    expect(typeOf('Q4_K_M', 'blk.0.attn_v.weight', 896)).toBe('Q8_0');
    expect(typeOf('Q4_K_M', 'token_embd.weight', 896)).toBe('Q8_0');
    expect(typeOf('Q4_0', 'token_embd.weight', 896)).toBe('Q8_0');
    for (const fileType of ['Q8_0', 'Q6_K', 'Q5_0', 'Q4_K_M', 'Q4_0'] as const) {
      expect(typeOf(fileType, 'blk.2.attn_q.weight', 172)).toBe('F16');
      expect(typeOf(fileType, 'token_embd.weight', 172)).toBe('F16');
    }
    expect(typeOf('F32', 'blk.2.attn_q.weight', 171)).toBe('F32');
  });

  it('models of the shape of a 70B have attn_v no worse than Q5_K', () => {
    const large = { ...LLAMA_1B, num_hidden_layers: 80 };
    expect(layersOf('Q4_K_M', 'attn_v', 'Q4_K', large)).toEqual([]);
    expect(layersOf('Q4_K_S', 'attn_v', 'Q5_K', large, 'qwen2')).toHaveLength(80);
    expect(layersOf('Q4_K_S', 'attn_v', 'Q5_K', large, 'qwen3')).toEqual([0, 1, 2, 3]);
    expect(layersOf('Q4_K_S', 'attn_v', 'Q5_K', { ...large, num_key_value_heads: 32 })).toEqual([0, 1, 2, 3]);
    expect(layersOf('Q4_K_M', 'ffn_down', 'Q4_K', large)).not.toEqual([]);
  });

  it('have the numbers of llama.h', () => {
    expect(Object.fromEntries(FILE_TYPES.map((type) => [type, fileTypeId(type)]))).toEqual({
      ...{ F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q8_0: 7, Q5_0: 8, Q5_1: 9, Q4_K_S: 14, Q4_K_M: 15, Q5_K_S: 16, Q5_K_M: 17, Q6_K: 18, BF16: 32 },
    });
  });
});
