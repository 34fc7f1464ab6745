import { describe, expect, it } from 'vitest';
import { MemorySink, MemorySource } from '../../src/core/bytes';
import { familyOf } from '../../src/core/families';
import { expectedTensors, layerAttention } from '../../src/core/layout';
import { PLAIN_ATTENTION, type ModelConfig, type ModelSource } from '../../src/core/model';
import { openSafetensorsModel } from '../../src/safetensors/model';
import { writeFloat32Tensors } from '../../src/safetensors/writer';

const SIZES = {
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 40,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
  eos_token_id: 1,
};

/** A folder whose weights are those that `family` needs, under `rename`d names, opened. */
async function open(config: object, family: string, { rename = (name: string) => name, extra = [] as string[], sizes = {} as Partial<ModelConfig> } = {}): Promise<ModelSource> {
  const shapes = expectedTensors({ ...PLAIN_ATTENTION, ...SIZES, rope_theta: 1, bos_token_id: null, eos_token_id: [], ...sizes, model_type: family });
  const entries = [...shapes].map(([name, shape]): [string, number[]] => [rename(name), shape]);
  const tensors = new Map([...entries, ...extra.map((name): [string, number[]] => [name, [3]])].map(([name, shape]) => [name, { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) }]));
  const sink = new MemorySink();
  await writeFloat32Tensors(sink, tensors);
  const file = (name: string, bytes: Uint8Array) => new MemorySource(bytes, `folder/${name}`);
  return openSafetensorsModel([file('config.json', new TextEncoder().encode(JSON.stringify(config))), file('model.safetensors', sink.bytes())]);
}

const attention = ({ config }: ModelSource) => config.layer_types.map((_, layer) => layerAttention(config, layer));

describe('a config.json', () => {
  it('of Llama 2 may come with the rope frequencies that its files hold', async () => {
    const model = await open({ ...SIZES, model_type: 'llama' }, 'llama', { extra: ['model.layers.0.self_attn.rotary_emb.inv_freq'] });
    expect(model.tensors.size).toBe(expectedTensors(model.config).size);
  });

  it('of Mistral slides in every layer, over 4096 tokens where it names no window, and in none where that is null', async () => {
    const windowed = await open({ ...SIZES, model_type: 'mistral', sliding_window: 8 }, 'mistral');
    expect(attention(windowed)).toEqual(new Array(4).fill({ window: 8, rope: 'global' }));
    expect((await open({ ...SIZES, model_type: 'mistral', sliding_window: null }, 'mistral')).config.layer_types).toEqual([]);
    expect((await open({ ...SIZES, model_type: 'mistral' }, 'mistral')).config.sliding_window).toBe(4096);
  });

  it('of Qwen2 has biases, and windows only where it says that they are used', async () => {
    const plain = await open({ ...SIZES, model_type: 'qwen2', sliding_window: 8, use_sliding_window: false, max_window_layers: 2 }, 'qwen2');
    expect(plain.tensors.get('model.layers.0.self_attn.q_proj.bias')!.shape).toEqual([64]);
    expect(plain.config.layer_types).toEqual([]);
    const windowed = await open({ ...SIZES, model_type: 'qwen2', sliding_window: 8, use_sliding_window: true, max_window_layers: 2 }, 'qwen2');
    expect(attention(windowed).map(({ window }) => window)).toEqual([null, null, 8, 8]);
  });

  it('of Gemma 2 alternates windows and names its caps', async () => {
    const gemma = await open({ ...SIZES, model_type: 'gemma2', hidden_activation: 'gelu_pytorch_tanh', hidden_act: 'gelu', sliding_window: 8, query_pre_attn_scalar: 24 }, 'gemma2');
    expect(attention(gemma).map(({ window }) => window)).toEqual([8, null, 8, null]);
    expect(gemma.config).toMatchObject({ attn_logit_softcapping: 50, final_logit_softcapping: 30, query_pre_attn_scalar: 24 });
  });

  it('of Gemma 3 gives sliding layers a rope of their own, in the spellings of transformers 4 and 5', async () => {
    const common = { ...SIZES, model_type: 'gemma3_text', num_hidden_layers: 7, sliding_window: 8 };
    const sizes = { num_hidden_layers: 7 };
    const old = await open({ ...common, rope_theta: 5e5, rope_local_base_freq: 2e4, rope_scaling: { rope_type: 'linear', factor: 8 } }, 'gemma3_text', { sizes });
    const young = await open(
      {
        ...common,
        _sliding_window_pattern: 6,
        rope_parameters: { full_attention: { rope_theta: 5e5, rope_type: 'linear', factor: 8 }, sliding_attention: { rope_theta: 2e4, rope_type: 'default' } },
      },
      'gemma3_text',
      { sizes },
    );
    expect(young.config).toEqual(old.config);
    expect(attention(old)[4]).toEqual({ window: 8, rope: 'local' });
    expect(attention(old)[5]).toEqual({ window: null, rope: 'global' });
    expect(old.config).toMatchObject({ rope_theta: 5e5, rope_local_base_freq: 2e4, rope_factors: new Array(8).fill(8) });
  });

  it('of SmolLM3 leaves positions out in every fourth layer', async () => {
    const { config } = await open({ ...SIZES, model_type: 'smollm3' }, 'smollm3');
    expect([0, 1, 2, 3].map((layer) => layerAttention(config, layer).rope)).toEqual(['global', 'global', 'global', null]);
    expect((await open({ ...SIZES, model_type: 'smollm3', no_rope_layers: [0, 1, 1, 1] }, 'smollm3')).config.no_rope_layers).toEqual([0, 1, 1, 1]);
  });

  it('of Phi-3 has fused projections and a long-rope whose attention factor follows from its lengths', async () => {
    const [short_factor, long_factor] = [new Array(8).fill(1), new Array(8).fill(4)];
    const phi = await open({ ...SIZES, model_type: 'phi3', original_max_position_embeddings: 16, rope_scaling: { type: 'longrope', short_factor, long_factor } }, 'phi3');
    expect(phi.tensors.get('model.layers.0.self_attn.qkv_proj.weight')!.shape).toEqual([128, 32]);
    expect(phi.config.rope_factors).toEqual(short_factor);
    // √(1 + ln(64 / 16) / ln 16) = √1.5
    expect(phi.config.rope_long).toMatchObject({ factors: long_factor, original_max_position_embeddings: 16 });
    expect(phi.config.rope_long!.attention_factor).toBeCloseTo(Math.sqrt(1.5), 12);
    await expect(open({ ...SIZES, model_type: 'phi3', rope_scaling: { type: 'longrope', short_factor, long_factor } }, 'phi3')).rejects.toThrow('original_max_position_embeddings is missing');
    await expect(open({ ...SIZES, model_type: 'phi3', original_max_position_embeddings: 16, rope_scaling: { type: 'longrope', short_factor: [1], long_factor } }, 'phi3')).rejects.toThrow('the rope factors are not 8 positive numbers');
  });

  it('of a model that rotates a part of each head says how much', async () => {
    const { config } = await open({ ...SIZES, model_type: 'phi3', rope_parameters: { rope_type: 'default', rope_theta: 1e4, partial_rotary_factor: 0.75 } }, 'phi3');
    expect(config.partial_rotary_factor).toBe(0.75);
    await expect(open({ ...SIZES, model_type: 'phi3', partial_rotary_factor: 0.3 }, 'phi3')).resolves.toBeTruthy();
    await expect(open({ ...SIZES, model_type: 'phi3', partial_rotary_factor: 1.5 }, 'phi3')).rejects.toThrow('partial_rotary_factor is 1.5');
  });

  it.each([
    ['gemma3', 'gemma3_text', 'gemma3_text', (name: string) => `language_model.${name}`, 'vision_tower.embeddings.weight'],
    ['gemma3', 'gemma3_text', 'gemma3_text', (name: string) => name.replace('model.', 'model.language_model.'), 'model.multi_modal_projector.norm.weight'],
    ['qwen2_5_vl', 'qwen2_5_vl_text', 'qwen2', (name: string) => name, 'visual.merger.ln_q.weight'],
    ['qwen3_vl', 'qwen3_vl_text', 'qwen3', (name: string) => name.replace('model.', 'model.language_model.'), 'model.visual.merger.norm.bias'],
  ])('of the many-sided %s gives its text part, and where in the whole it lies', async (whole, part, family, rename, other) => {
    const text = { ...SIZES, model_type: part, rope_scaling: null };
    const model = await open({ model_type: whole, text_config: text, vision_config: { hidden_size: 7 } }, family, { rename, extra: [other] });
    expect(familyOf(model.config).modelType).toBe(family);
    expect([...model.tensors.keys()].sort()).toEqual([...expectedTensors(model.config).keys()].sort());
    expect(model.textPath).toBe('model.language_model');
    expect((await open({ ...SIZES, model_type: 'llama' }, 'llama')).textPath).toBeUndefined();
  });

  it('may switch biases on where its family has them', async () => {
    const biased = await open({ ...SIZES, model_type: 'llama', attention_bias: true, mlp_bias: true }, 'llama', { sizes: { attention_bias: true, mlp_bias: true } });
    expect(biased.tensors.get('model.layers.0.self_attn.o_proj.bias')!.shape).toEqual([32]);
    expect(biased.tensors.get('model.layers.0.mlp.gate_proj.bias')!.shape).toEqual([48]);
    await expect(open({ ...SIZES, model_type: 'mistral', attention_bias: true }, 'mistral')).rejects.toThrow('attention_bias is true');
  });

  it('of an unknown model type is refused with the known ones, and one whose layers do not add up with the key', async () => {
    await expect(open({ ...SIZES, model_type: 'mamba' }, 'llama')).rejects.toThrow(/model_type is mamba, and Hone trains llama \(.*qwen3 \(.*gemma3_text/);
    await expect(open({ ...SIZES, model_type: 'smollm3', no_rope_layers: [1] }, 'smollm3')).rejects.toThrow('no_rope_layers names 1 layers, and the model has 4');
    await expect(open({ ...SIZES, model_type: 'mistral', sliding_window: 0 }, 'mistral')).rejects.toThrow('sliding_window is 0');
    await expect(open({ ...SIZES, model_type: 'gemma2', attn_logit_softcapping: -1 }, 'gemma2')).rejects.toThrow('attn_logit_softcapping is -1');
  });
});
