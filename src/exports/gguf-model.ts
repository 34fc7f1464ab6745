import type { ByteSink } from '../core/bytes';
import { ExportError } from '../core/errors';
import { expectedTensors } from '../core/layout';
import { rowBytes, type FileType, type GgufTokenizerKeys, type ModelConfig, type ModelSource, type TokenizerSource } from '../core/model';
import { familyOf } from '../core/families';
import type { Family } from '../core/families/family';
import { ggufName, interleavedRow, isInterleaved, isOffsetNorm } from '../gguf/families';
import { tensorType } from '../gguf/file-types';
import { linearRopeFactor, modelMetadata } from '../gguf/model-keys';
import { quantize } from '../gguf/quantize';
import { addTokenizerKeys, ggufTokenizer } from '../gguf/tokenizer-keys';
import { GgufWriter, ggufSize, text, type GgufMetadata, type TensorPlan } from '../gguf/writer';
import type { ExportFile } from './files';
import { writeFile, type Written } from './hashing-sink';
import { mergedModel, rowsAs, type Change } from './merged';

/** Weights handled at once: 4 MB of float32. */
const TILE = 1 << 20;

export interface MergedModel extends Change {
  model: ModelSource;
  /** Name for `general.name`. */
  name: string;
  type: FileType;
  /** The template that training used; left out: the model's own. */
  chatTemplate?: string | null;
  /** Text to ids with nothing added: needed where the tokenizer is a tokenizer.json. */
  encode?: ((text: string) => number[]) | null;
}

type WeightPlan = TensorPlan & { source: string };

/** A merged file's directory, from shapes alone. */
export interface MergedLayout {
  family: Family;
  metadata: GgufMetadata;
  /** `source`: the weight's Hugging Face name; `values`: numbers of the config, which are no weight. */
  tensors: ((WeightPlan & { values?: undefined }) | (TensorPlan & { values: number[] }))[];
  bytes: number;
}

/**
 * What exportMergedGguf will write: matrices in the types that llama-quantize gives them in such a file, vectors in F32,
 * rope factors, config, tokenizer and template. Throws GgufError where the tokenizer has no GGUF form.
 */
export function mergedLayout(request: MergedModel): MergedLayout {
  const { model, type } = request;
  const { config } = model;
  const family = familyOf(config);
  const reason = family.gguf.inexpressible(config);
  if (reason) throw new ExportError(`${model.name} has no GGUF form: ${reason}; export the adapter as PEFT, or the merged model as safetensors.`);
  const tensors: MergedLayout['tensors'] = ropeTensors(config).map(({ name, values }) => ({ name, dims: [values.length], type: 'F32', values }));
  let parameters = 0;
  for (const [name, shape] of expectedTensors(config)) {
    const tensor = { name: ggufName(family, name)!, dims: [...shape].reverse() };
    parameters += shape.reduce((product, size) => product * size, 1);
    tensors.push({ ...tensor, type: tensorType(type, tensor, family.gguf.architecture, config), source: name });
  }
  const keys = model.tokenizer && ggufTokenizer(model.tokenizer, config.vocab_size, request.encode ?? null);
  const name = keys ? loadableName(request.name, model.tokenizer!, keys) : request.name;
  const metadata = modelMetadata(family, config, name, parameters, type);
  const chatTemplate = request.chatTemplate === undefined ? model.chatTemplate : request.chatTemplate;
  if (keys) {
    const bos_token_id = keys.bos_token_id ?? config.bos_token_id;
    const eos_token_id = keys.eos_token_id ?? config.eos_token_id[0] ?? null;
    addTokenizerKeys(metadata, { ...keys, bos_token_id, eos_token_id }, chatTemplate);
  } else {
    metadata.set('tokenizer.ggml.model', text('no_vocab'));
  }
  return { family, metadata, tensors, bytes: ggufSize(metadata, tensors) };
}

/**
 * llama.cpp takes a name with phi3 in it for Microsoft's model: it then drops white space after special tokens, as such a
 * tokenizer does, and cannot load a vocabulary that lacks one of these.
 */
const PHI3_TOKENS = ['</s>', '<unk>', '<s>', '<|endoftext|>'];

function loadableName(name: string, tokenizer: TokenizerSource, { tokens }: GgufTokenizerKeys): string {
  const isNamed = /phi-?3/i.test(name);
  if (!isNamed && !dropsSpaceAfterSpecial(tokenizer)) return name;
  const isLoadable = PHI3_TOKENS.every((token) => tokens.includes(token));
  if (isNamed) return isLoadable ? name : name.replaceAll(/phi-?3/gi, 'phi 3');
  return isLoadable ? `${name} (phi-3)` : name;
}

function dropsSpaceAfterSpecial(source: TokenizerSource): boolean {
  if (source.kind === 'gguf') return source.keys.special_strip_right === true;
  const { added_tokens: added } = source.tokenizer as { added_tokens?: { special?: unknown; rstrip?: unknown }[] };
  return (added ?? []).some(({ special, rstrip }) => special === true && rstrip === true);
}

/** Rope factors as tensors, where no key can say them. */
function ropeTensors(config: ModelConfig): { name: string; values: number[] }[] {
  const { rope_factors: factors, rope_long: long } = config;
  if (!factors || linearRopeFactor(config) !== null) return [];
  if (!long) return [{ name: 'rope_freqs.weight', values: factors }];
  return [
    { name: 'rope_factors_long.weight', values: long.factors },
    { name: 'rope_factors_short.weight', values: factors },
  ];
}

/** The merged model as one file of an export. Throws as mergedLayout does. */
export function ggufModelFile(request: MergedModel, name: string): ExportFile {
  return { name, bytes: mergedLayout(request).bytes, write: (sink, onBytes) => exportMergedGguf(request, sink, onBytes) };
}

/**
 * Writes the base model with a change in its weights as one GGUF file, tile by tile of rows; a weight that nothing changes
 * and that already has the target type is copied byte for byte. Closes the sink. Throws ExportError where a weight would not
 * be a finite number; the sink is then aborted.
 */
export async function exportMergedGguf(request: MergedModel, sink: ByteSink, onBytes?: (bytes: number) => void): Promise<Written> {
  const layout = mergedLayout(request);
  const merged = mergedModel(request.model, request);
  return writeFile(
    sink,
    async (out) => {
      const writer = await GgufWriter.start(out, layout.metadata, layout.tensors);
      for (const plan of layout.tensors) {
        if (plan.values) await writer.append(quantize('F32', Float32Array.from(plan.values)));
        else await writeTensor(writer, merged, layout.family, plan);
      }
      writer.finish();
    },
    onBytes,
  );
}

async function writeTensor(writer: GgufWriter, { config, tensors }: ModelSource, family: Family, plan: WeightPlan): Promise<void> {
  const tensor = tensors.get(plan.source)!;
  const columns = plan.dims[0]!;
  const rows = plan.dims[1] ?? 1;
  const headDim = isInterleaved(family, plan.source) ? config.head_dim : null;
  const unit = headDim ?? 1;
  const tileRows = Math.max(unit, Math.floor(TILE / columns / unit) * unit);
  const offset = isOffsetNorm(family, plan.source) ? family.decoder.norm_offset : 0;
  const stride = rowBytes(plan.type, columns);
  for (let first = 0; first < rows; first += tileRows) {
    const bytes = await rowsAs(tensor, plan.type, first, Math.min(tileRows, rows - first), offset);
    await writer.append(headDim === null ? bytes : interleave(bytes, plan.dims.length === 1 ? stride / columns : stride, headDim));
  }
}

/** Whole heads of rows (of a bias: of values) from Hugging Face's order into GGUF's. */
function interleave(bytes: Uint8Array, stride: number, headDim: number): Uint8Array {
  const ordered = new Uint8Array(bytes.byteLength);
  for (let row = 0; row * stride < bytes.byteLength; row++) {
    ordered.set(bytes.subarray(row * stride, (row + 1) * stride), interleavedRow(row, headDim) * stride);
  }
  return ordered;
}
