import { createWriteStream } from 'node:fs';
import { loraRank, peftName, targetedModules, type Adapter, type LoraConfig } from '../src/core/adapter';
import { MemorySink, MemorySource, type ByteSink } from '../src/core/bytes';
import { expectedTensors } from '../src/core/layout';
import { projectionsOf } from '../src/core/families';
import { PLAIN_ATTENTION, projectionShape, type GgufTokenizerKeys, type LayerType, type ModelConfig, type ModelSource, type StoredTensor } from '../src/core/model';
import { Random } from '../src/core/random';
import type { ExportFile } from '../src/exports/files';
import { llama3RopeFactors } from '../src/core/rope';

/** A file on disk as a sink. */
export function fileSink(path: string): ByteSink {
  const stream = createWriteStream(path);
  return {
    write: (bytes) => new Promise((resolve, reject) => stream.write(bytes.slice(), (error) => (error ? reject(error) : resolve()))),
    close: () => new Promise((resolve) => stream.end(() => resolve())),
    abort: () => new Promise((resolve) => stream.destroy().once('close', () => resolve())),
  };
}

/** What an export's files hold once they are written, as sources below a folder. */
export async function writtenFiles(files: readonly ExportFile[], folder = ''): Promise<MemorySource[]> {
  const sources: MemorySource[] = [];
  for (const { name, bytes, write } of files) {
    const sink = new MemorySink();
    const written = await write(sink);
    if (!sink.closed || written.bytes !== bytes) throw new Error(`${name}: ${written.bytes} bytes were written, ${bytes} announced`);
    sources.push(new MemorySource(sink.bytes(), folder === '' ? name : `${folder}/${name}`));
  }
  return sources;
}

/** A small Llama in a shape of its own: untied head, grouped heads, Llama 3's rope scaling. */
export const TINY: ModelConfig = {
  ...PLAIN_ATTENTION,
  model_type: 'llama',
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 3,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 160,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  rope_factors: llama3RopeFactors(10000, 16, { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 }),
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: [2],
};

/** A small model of each family, with all that the family does differently at work. */
export const FAMILY_CONFIGS: readonly ModelConfig[] = (() => {
  const plain: ModelConfig = { ...TINY, rope_factors: null };
  const alternating = (layers: number, period: number): LayerType[] =>
    Array.from({ length: layers }, (_, layer) => ((layer + 1) % period === 0 ? 'full_attention' : 'sliding_attention'));
  const gemma = { query_pre_attn_scalar: 16, tie_word_embeddings: true, sliding_window: 5 };
  return [
    TINY,
    { ...plain, model_type: 'llama', attention_bias: true, mlp_bias: true },
    { ...plain, model_type: 'mistral', sliding_window: 4, layer_types: new Array<LayerType>(3).fill('sliding_attention') },
    { ...plain, model_type: 'qwen2', tie_word_embeddings: true, rope_theta: 1e6 },
    { ...plain, model_type: 'qwen3', head_dim: 24, rms_norm_eps: 1e-6 },
    { ...plain, ...gemma, model_type: 'gemma2', layer_types: alternating(3, 2), attn_logit_softcapping: 5, final_logit_softcapping: 4 },
    { ...plain, ...gemma, model_type: 'gemma3_text', num_hidden_layers: 7, layer_types: alternating(7, 6), rope_theta: 1e6, rope_local_base_freq: 1e4, rope_factors: new Array<number>(8).fill(8) },
    {
      ...plain,
      model_type: 'phi3',
      hidden_size: 96,
      head_dim: 16,
      rope_factors: [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
      rope_long: { factors: [2, 3, 4, 5, 6, 7, 8, 9], original_max_position_embeddings: 64, attention_factor: 1.25 },
    },
    { ...plain, model_type: 'smollm3', num_hidden_layers: 4, no_rope_layers: [1, 1, 1, 0], tie_word_embeddings: true },
  ];
})();

/** What tells a config from the others of FAMILY_CONFIGS. */
export const familyName = ({ model_type, attention_bias }: ModelConfig): string => `${model_type}${attention_bias ? ' with biases' : ''}`;

const gaussian = (random: Random): number => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());

/** Float32 values about 0 with a given deviation. */
export function randomValues(random: Random, count: number, deviation: number): Float32Array {
  return Float32Array.from({ length: count }, () => deviation * gaussian(random));
}

/** A model of random float32 weights, large enough that its logits are far from uniform. */
export function randomModel(config: ModelConfig, seed = 1): ModelSource {
  const random = new Random(seed);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, shape] of expectedTensors(config)) {
    const count = shape.reduce((product, size) => product * size, 1);
    const columns = shape.at(-1)!;
    const center = name.endsWith('.bias') || config.model_type.startsWith('gemma') ? 0 : 1;
    const data = shape.length === 1 ? randomValues(random, count, 0.1).map((x) => center + x) : randomValues(random, count, 1.5 / Math.sqrt(columns));
    const bytes = new Uint8Array(data.buffer);
    const readRows = (first: number, rows: number): Promise<Uint8Array> => Promise.resolve(bytes.slice(first * columns * 4, (first + rows) * columns * 4));
    tensors.set(name, { name, shape, type: 'F32', readRows });
  }
  return { name: `random ${config.model_type}`, format: 'safetensors', config, tensors, tokenizer: { kind: 'gguf', keys: madeUpTokenizer(config) }, chatTemplate: null, bytes: 0, files: [] };
}

/** Three special tokens, the printable ASCII characters, and numbered words up to the vocabulary's size. */
function madeUpTokenizer(config: ModelConfig): GgufTokenizerKeys {
  const special = ['<unk>', '<s>', '</s>'];
  const letters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i));
  const tokens = Array.from({ length: config.vocab_size }, (_, id) => special[id] ?? letters[id - 3] ?? `word${id}`);
  return {
    model: 'gpt2',
    pre: 'gpt-2',
    tokens,
    token_type: tokens.map((_, id) => (id < 3 ? 3 : 1)),
    scores: null,
    merges: ['a b'],
    bos_token_id: 1,
    eos_token_id: 2,
    eot_token_id: null,
    unknown_token_id: 0,
    padding_token_id: null,
    add_bos_token: true,
    add_eos_token: false,
    add_space_prefix: null,
  };
}

/** An adapter of all projections with both halves random; `strength` is B's deviation. DoRA's lengths are about those of randomModel's rows. */
export function randomAdapter(config: ModelConfig, { r = 5, seed = 2, strength = 0.15, ...others }: Partial<LoraConfig> & { seed?: number; strength?: number } = {}): Adapter {
  const random = new Random(seed);
  const lora: LoraConfig = {
    r,
    lora_alpha: 8,
    lora_dropout: 0,
    target_modules: projectionsOf(config),
    use_rslora: false,
    use_dora: false,
    rank_pattern: {},
    alpha_pattern: {},
    ...others,
  };
  const adapter: Adapter = { config: lora, tensors: new Map(), magnitudes: new Map() };
  for (const { path, projection } of targetedModules(config, lora.target_modules)) {
    const [out, columns] = projectionShape(config, projection);
    const rank = loraRank(lora, path);
    adapter.tensors.set(peftName(path, 'A'), { shape: [rank, columns], data: randomValues(random, rank * columns, 1 / Math.sqrt(columns)) });
    adapter.tensors.set(peftName(path, 'B'), { shape: [out, rank], data: randomValues(random, out * rank, strength) });
    if (lora.use_dora) adapter.magnitudes.set(path, randomValues(random, out, 0.1).map((x) => 1.5 + x));
  }
  return adapter;
}
