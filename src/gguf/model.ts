import type { ByteSource } from '../core/bytes';
import { dequantize } from '../core/blocks';
import { GgufError, ModelError } from '../core/errors';
import type { Family } from '../core/families/family';
import { checkConfig, checkRopeFactors, checkRows, checkTensors, expectedTensors } from '../core/layout';
import {
  PLAIN_ATTENTION,
  WEIGHT_BLOCKS,
  rowBytes,
  type GgufTokenizerKeys,
  type ModelConfig,
  type ModelSource,
  type StoredTensor,
  type WeightType,
} from '../core/model';
import { rotaryDim } from '../core/rope';
import { familyOfArchitecture, ggufName, interleavedRow, isInterleaved, isOffsetNorm, knownArchitectures } from './families';
import { Metadata } from './metadata';
import { readGguf } from './reader';
import { TENSOR_TYPES, TOKEN_TYPES, type GgufHeader, type TensorInfo, type TensorType } from './types';

/** Control tokens that end a turn or a text in the chat formats of the supported families. */
const END_TOKENS = new Set(['<|im_end|>', '<|eot_id|>', '<|eom_id|>', '<|end_of_text|>', '<|endoftext|>', '<|end|>', '<end_of_turn>', '</s>']);

/**
 * Opens a GGUF model for reading row by row: Hugging Face names and orientation, q and k rows in Hugging Face's order.
 * Reads the directory alone (and `rope_freqs.weight`, some hundred bytes). Throws GgufError or ModelError where the file
 * is damaged, of an unknown architecture, in a type that Hone does not compute with, or contradicts itself.
 */
export async function openGguf(source: ByteSource): Promise<ModelSource> {
  const header = await readGguf(source);
  const metadata = new Metadata(source.name, header.metadata);
  const family = findFamily(source, metadata);
  refuseParts(source, metadata);
  const tokenizer = tokenizerKeys(metadata);
  const config = readConfig(source, header, metadata, family, tokenizer);
  checkConfig(source.name, config);
  await readRopeScaling(source, header, metadata, config, family);
  checkRopeFactors(source.name, config);
  if (tokenizer && tokenizer.tokens.length !== config.vocab_size) {
    throw new ModelError(
      `${source.name}: the vocabulary has ${tokenizer.tokens.length} tokens and the embedding ${config.vocab_size} rows; ` +
        'the two have to agree, convert the model anew.',
    );
  }
  const tensors = storedTensors(source, header, family, config);
  checkTensors(source.name, config, tensors);
  return {
    name: metadata.optionalString('general.name') ?? source.name.replace(/\.gguf$/i, ''),
    format: 'gguf',
    config,
    tensors,
    tokenizer: tokenizer ? { kind: 'gguf', keys: tokenizer } : null,
    chatTemplate: metadata.optionalString('tokenizer.chat_template'),
    bytes: source.size,
    files: [source],
  };
}

/** The tokenizer of a GGUF file that may hold nothing else. Throws GgufError where it has none. */
export async function openGgufVocabulary(source: ByteSource): Promise<{ tokenizer: GgufTokenizerKeys; chatTemplate: string | null }> {
  const metadata = new Metadata(source.name, (await readGguf(source)).metadata);
  const tokenizer = tokenizerKeys(metadata);
  if (!tokenizer) throw new GgufError(`${source.name}: the file has no tokenizer (tokenizer.ggml.tokens is missing); choose a whole model.`);
  return { tokenizer, chatTemplate: metadata.optionalString('tokenizer.chat_template') };
}

function findFamily(source: ByteSource, metadata: Metadata): Family {
  const kind = metadata.optionalString('general.type') ?? 'model';
  if (kind !== 'model') {
    throw new GgufError(`${source.name}: the file holds a GGUF ${kind}, not a model; choose the base model it was made for.`);
  }
  const architecture = metadata.optionalString('general.architecture');
  const family = familyOfArchitecture(architecture);
  if (family) return family;
  throw new GgufError(`${source.name}: the architecture is ${architecture ?? 'not named'}, and Hone trains ${knownArchitectures()}; choose a model of one of these.`);
}

function refuseParts(source: ByteSource, metadata: Metadata): void {
  const parts = metadata.optionalNumber('split.count') ?? 1;
  if (parts > 1) {
    throw new GgufError(`${source.name}: the file is one of ${parts} parts of a model; join them with "llama-gguf-split --merge" and open the result.`);
  }
}

/** The config but for the rope factors, whose count is worth trusting only once the config was checked. */
function readConfig(
  source: ByteSource,
  header: GgufHeader,
  metadata: Metadata,
  family: Family,
  tokenizer: GgufTokenizerKeys | null,
): ModelConfig {
  const key = (name: string): string => `${family.gguf.architecture}.${name}`;
  const embedding = header.tensors.get('token_embd.weight');
  if (!embedding) throw new ModelError(`${source.name}: token_embd.weight is missing, so the file holds no weights; choose a whole model.`);
  const experts = metadata.optionalNumber(key('expert_count')) ?? 0;
  if (experts > 0) throw new ModelError(`${source.name}: the model mixes ${experts} experts, which Hone does not train; choose a dense model.`);
  const hidden_size = metadata.number(key('embedding_length'));
  const heads = metadata.number(key('attention.head_count'));
  const head_dim = metadata.optionalNumber(key('attention.key_length')) ?? hidden_size / heads;
  checkHeadSize(source, metadata, key, head_dim);
  const rotated = metadata.optionalNumber(key('rope.dimension_count')) ?? head_dim;
  const common: ModelConfig = {
    ...PLAIN_ATTENTION,
    model_type: family.modelType,
    hidden_size,
    intermediate_size: metadata.number(key('feed_forward_length')),
    num_hidden_layers: metadata.number(key('block_count')),
    num_attention_heads: heads,
    num_key_value_heads: metadata.optionalNumber(key('attention.head_count_kv')) ?? heads,
    head_dim,
    partial_rotary_factor: rotated / head_dim,
    vocab_size: embedding.dims[1] ?? 1,
    max_position_embeddings: metadata.number(key('context_length')),
    rms_norm_eps: decimal(metadata.number(key('attention.layer_norm_rms_epsilon'))),
    rope_theta: decimal(metadata.optionalNumber(key('rope.freq_base')) ?? 10000),
    tie_word_embeddings: !header.tensors.has('output.weight'),
    attention_bias: family.biases.includes('attention_bias') && header.tensors.has('blk.0.attn_output.bias'),
    mlp_bias: family.biases.includes('mlp_bias') && header.tensors.has('blk.0.ffn_down.bias'),
    bos_token_id: tokenizer ? tokenizer.bos_token_id : metadata.optionalNumber('tokenizer.ggml.bos_token_id'),
    eos_token_id: endTokens(metadata, tokenizer),
  };
  return { ...common, ...family.gguf.fromKeys(metadata.under(family.gguf.architecture), common) };
}

/** The shortest decimal that rounds to the same float32: what the config said before it was stored as F32 (1e-5, not 9.99999974e-6). */
function decimal(value: number): number {
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

function checkHeadSize(source: ByteSource, metadata: Metadata, key: (name: string) => string, headDim: number): void {
  const valueLength = metadata.optionalNumber(key('attention.value_length')) ?? headDim;
  if (valueLength !== headDim) {
    throw new ModelError(
      `${source.name}: keys have ${headDim} and values ${valueLength} dimensions a head, and Hone needs the two to be equal; choose another model.`,
    );
  }
}

/** Tensors of rope factors, which are part of the config. */
const ROPE_TENSORS = { llama3: 'rope_freqs.weight', short: 'rope_factors_short.weight', long: 'rope_factors_long.weight' } as const;

async function readRopeScaling(source: ByteSource, header: GgufHeader, metadata: Metadata, config: ModelConfig, family: Family): Promise<void> {
  const read = (name: string): Promise<number[] | null> => readFactors(source, header, name, rotaryDim(config) / 2);
  const scaling = metadata.under(`${family.gguf.architecture}.rope.scaling`);
  const long = await read(ROPE_TENSORS.long);
  if (long) {
    config.rope_factors = await read(ROPE_TENSORS.short);
    const original_max_position_embeddings = scaling.number('original_context_length');
    config.rope_long = { factors: long, original_max_position_embeddings, attention_factor: scaling.optionalNumber('attn_factor') ?? 1 };
    return;
  }
  config.rope_factors = await read(ROPE_TENSORS.llama3);
  if (config.rope_factors) return;
  const type = scaling.optionalString('type') ?? (scaling.optionalNumber('factor') === null ? 'none' : 'linear');
  if (type === 'none') return;
  if (type !== 'linear') throw new ModelError(`${source.name}: the rope scaling is ${type}, and Hone knows linear, llama3 and longrope; choose a model without it.`);
  const factor = scaling.number('factor');
  if (factor !== 1) config.rope_factors = new Array<number>(rotaryDim(config) / 2).fill(factor);
}

async function readFactors(source: ByteSource, header: GgufHeader, name: string, count: number): Promise<number[] | null> {
  const info = header.tensors.get(name);
  if (!info) return null;
  if (info.type !== 'F32' || info.dims[0] !== count) {
    throw new GgufError(
      `${source.name}: ${name} is ${info.type} with ${info.dims.join(' × ')} values, and F32 with ${count} was expected; convert the model anew.`,
    );
  }
  return Array.from(dequantize('F32', await source.read(info.offset, info.bytes)));
}

function endTokens(metadata: Metadata, tokenizer: GgufTokenizerKeys | null): number[] {
  const ids = new Set<number>();
  for (const name of ['eos', 'eot', 'eom']) {
    const id = metadata.optionalNumber(`tokenizer.ggml.${name}_token_id`);
    if (id !== null) ids.add(id);
  }
  tokenizer?.tokens.forEach((token, id) => {
    if (tokenizer.token_type?.[id] === TOKEN_TYPES.control && END_TOKENS.has(token)) ids.add(id);
  });
  return [...ids];
}

function tokenizerKeys(metadata: Metadata): GgufTokenizerKeys | null {
  const key = (name: string): string => `tokenizer.ggml.${name}`;
  const model = metadata.optionalString(key('model'));
  const tokens = metadata.strings(key('tokens'));
  if (model === null || tokens === null || model === 'none' || model === 'no_vocab') return null;
  return {
    model,
    pre: metadata.optionalString(key('pre')),
    tokens,
    token_type: metadata.numbers(key('token_type')),
    scores: metadata.numbers(key('scores')),
    merges: metadata.strings(key('merges')),
    bos_token_id: metadata.optionalNumber(key('bos_token_id')),
    eos_token_id: metadata.optionalNumber(key('eos_token_id')),
    eot_token_id: metadata.optionalNumber(key('eot_token_id')),
    unknown_token_id: metadata.optionalNumber(key('unknown_token_id')),
    padding_token_id: metadata.optionalNumber(key('padding_token_id')),
    add_bos_token: metadata.optionalBoolean(key('add_bos_token')),
    add_eos_token: metadata.optionalBoolean(key('add_eos_token')),
    add_space_prefix: metadata.optionalBoolean(key('add_space_prefix')),
    ...(/phi-?3/i.test(metadata.optionalString('general.name') ?? '') && { special_strip_right: true }),
  };
}

function storedTensors(source: ByteSource, header: GgufHeader, family: Family, config: ModelConfig): Map<string, StoredTensor> {
  const names = new Map<string, string>();
  for (const name of expectedTensors(config).keys()) names.set(ggufName(family, name)!, name);
  const tensors = new Map<string, StoredTensor>();
  for (const info of header.tensors.values()) {
    if (Object.values<string>(ROPE_TENSORS).includes(info.name)) continue;
    const name = names.get(info.name);
    if (name === undefined) {
      throw new ModelError(
        `${source.name}: tensor ${info.name} has no place in a ${family.gguf.architecture} model as Hone knows it ` +
          '(experts and biases that the family has not are not supported); choose a plain one.',
      );
    }
    const tensor = storedTensor(source, info, name, isInterleaved(family, name) ? config.head_dim : null);
    tensors.set(name, isOffsetNorm(family, name) ? lessOffset(source, tensor, family.decoder.norm_offset) : tensor);
  }
  return tensors;
}

function isWeightType(type: TensorType): type is WeightType {
  return type in WEIGHT_BLOCKS;
}

/** `headDim`: undo the interleaving of heads of that size; null: rows stand in Hugging Face's order. */
function storedTensor(source: ByteSource, info: TensorInfo, name: string, headDim: number | null): StoredTensor {
  const { type } = info;
  if (!isWeightType(type)) {
    throw new GgufError(
      `${source.name}: tensor ${info.name} has type ${type} (${TENSOR_TYPES[type].id}), and Hone reads ` +
        `${Object.keys(WEIGHT_BLOCKS).join(', ')}; re-export the model as Q4_K_M or Q8_0.`,
    );
  }
  const shape = [...info.dims].reverse();
  const columns = info.dims[0]!;
  const stride = rowBytes(type, columns);
  const rows = info.bytes / stride;
  const readStored = (first: number, count: number): Promise<Uint8Array> => source.read(info.offset + first * stride, count * stride);
  const readRows = async (first: number, count: number): Promise<Uint8Array> => {
    checkRows(name, rows, first, count);
    if (headDim === null) return readStored(first, count);
    if (shape.length > 1) return readInterleaved(readStored, first, count, headDim, stride);
    // A bias: its values stand as the rows of its matrix do.
    const value = rowBytes(type, 1);
    return readInterleaved((from, values) => source.read(info.offset + from * value, values * value), 0, columns, headDim, value);
  };
  return { name, shape, type, readRows };
}

/** A norm's weight as Hugging Face has it: less what the file added. */
function lessOffset(source: ByteSource, tensor: StoredTensor, offset: number): StoredTensor {
  if (tensor.type !== 'F32') throw new GgufError(`${source.name}: ${tensor.name} has type ${tensor.type}, and norms are F32; convert the model anew.`);
  const readRows = async (first: number, count: number): Promise<Uint8Array> => {
    const values = dequantize('F32', await tensor.readRows(first, count)).map((value) => value - offset);
    return new Uint8Array(values.buffer);
  };
  return { ...tensor, readRows };
}

/** Reads the heads that rows `first`… lie in and puts the rows into Hugging Face's order. */
async function readInterleaved(
  readStored: (first: number, count: number) => Promise<Uint8Array>,
  first: number,
  count: number,
  headDim: number,
  stride: number,
): Promise<Uint8Array> {
  const from = Math.floor(first / headDim) * headDim;
  const to = Math.ceil((first + count) / headDim) * headDim;
  const stored = await readStored(from, to - from);
  const ordered = new Uint8Array(count * stride);
  for (let row = 0; row < count; row++) {
    const at = (interleavedRow(first + row, headDim) - from) * stride;
    ordered.set(stored.subarray(at, at + stride), row * stride);
  }
  return ordered;
}
