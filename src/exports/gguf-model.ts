import { loraScale, peftName, type Adapter } from '../core/adapter';
import { dequantize } from '../core/blocks';
import type { ByteSink } from '../core/bytes';
import { ExportError } from '../core/errors';
import { expectedTensors } from '../core/layout';
import { WEIGHT_BLOCKS, rowBytes, type ModelSource, type StoredTensor, type WeightType } from '../core/model';
import type { OnProgress } from '../core/progress';
import { GGUF_FAMILIES, ggufName, interleavedRow, isInterleaved, type GgufFamily } from '../gguf/families';
import { linearRopeFactor, modelMetadata } from '../gguf/model-keys';
import { quantize } from '../gguf/quantize';
import { addTokenizerKeys, ggufTokenizer } from '../gguf/tokenizer-keys';
import { GgufWriter, ggufSize, text, type GgufMetadata, type TensorPlan } from '../gguf/writer';
import { writeFile, type Written } from './hashing-sink';
import { addLora, allFinite } from './merge';

/** Weights handled at once: 4 MB of float32. */
const TILE = 1 << 20;

export interface MergedModel {
  model: ModelSource;
  /** Name for `general.name`. */
  name: string;
  type: WeightType;
  /** Added to the base weights. */
  adapter?: Adapter | null;
  /** Weights that replace the base's (full-parameter training), by Hugging Face name; norms are one row. */
  weights?: ReadonlyMap<string, Float32Array> | null;
  /** The template that training used; left out: the model's own. */
  chatTemplate?: string | null;
  /** Text to ids with nothing added: needed where the tokenizer is a tokenizer.json. */
  encode?: ((text: string) => number[]) | null;
}

/** A merged file's directory, from shapes alone. */
export interface MergedLayout {
  family: GgufFamily;
  metadata: GgufMetadata;
  tensors: (TensorPlan & { source: string })[];
  bytes: number;
}

/**
 * What exportMergedGguf will write: matrices in `type` (F16 where rows do not fill its blocks), vectors in F32,
 * rope factors, config, tokenizer and template. Throws GgufError where the tokenizer has no GGUF form.
 */
export function mergedLayout(request: MergedModel): MergedLayout {
  const { model, type } = request;
  const { config } = model;
  const family = familyOf(model);
  const tensors: MergedLayout['tensors'] = [];
  if (config.rope_factors && linearRopeFactor(config) === null) {
    tensors.push({ name: 'rope_freqs.weight', dims: [config.head_dim / 2], type: 'F32', source: '' });
  }
  let parameters = 0;
  for (const [name, shape] of expectedTensors(config)) {
    const dims = [...shape].reverse();
    parameters += shape.reduce((product, size) => product * size, 1);
    tensors.push({ name: ggufName(family, name)!, dims, type: storedType(shape, type), source: name });
  }
  const metadata = modelMetadata(family, config, request.name, parameters, type);
  const chatTemplate = request.chatTemplate === undefined ? model.chatTemplate : request.chatTemplate;
  if (model.tokenizer) {
    const keys = ggufTokenizer(model.tokenizer, config.vocab_size, request.encode ?? null);
    const bos_token_id = keys.bos_token_id ?? config.bos_token_id;
    const eos_token_id = keys.eos_token_id ?? config.eos_token_id[0] ?? null;
    addTokenizerKeys(metadata, { ...keys, bos_token_id, eos_token_id }, chatTemplate);
  } else {
    metadata.set('tokenizer.ggml.model', text('no_vocab'));
  }
  return { family, metadata, tensors, bytes: ggufSize(metadata, tensors) };
}

function familyOf(model: ModelSource): GgufFamily {
  const family = GGUF_FAMILIES.find((known) => known.modelType === model.config.model_type);
  if (!family) throw new ExportError(`${model.name} is a ${model.config.model_type} model, which Hone cannot write as GGUF; export as PEFT instead.`);
  return family;
}

/** llama-quantize's rule, with F16 for rows that do not fill blocks. */
function storedType(shape: readonly number[], type: WeightType): WeightType {
  if (shape.length === 1) return 'F32';
  return shape.at(-1)! % WEIGHT_BLOCKS[type].length === 0 ? type : 'F16';
}

/**
 * Writes the base model with the adapter added (or weights replaced) as one GGUF file, tile by tile of rows;
 * a weight that nothing changes and that already has the target type is copied byte for byte. Closes the sink.
 * Throws ExportError where a weight would not be a finite number; the sink is then aborted.
 */
export async function exportMergedGguf(request: MergedModel, sink: ByteSink, onProgress?: OnProgress): Promise<Written> {
  const layout = mergedLayout(request);
  return writeFile(
    sink,
    async (out) => {
      const writer = await GgufWriter.start(out, layout.metadata, layout.tensors);
      for (const plan of layout.tensors) {
        if (plan.source === '') await writer.append(quantize('F32', Float32Array.from(request.model.config.rope_factors!)));
        else await writeTensor(writer, request, layout.family, plan);
      }
      writer.finish();
    },
    (done) => onProgress?.({ label: 'Writing the merged model', done, total: layout.bytes, unit: 'bytes' }),
  );
}

async function writeTensor(writer: GgufWriter, request: MergedModel, family: GgufFamily, plan: MergedLayout['tensors'][number]): Promise<void> {
  const { config, tensors } = request.model;
  const tensor = tensors.get(plan.source)!;
  const columns = plan.dims[0]!;
  const rows = plan.dims[1] ?? 1;
  const headDim = isInterleaved(family, plan.source) ? config.head_dim : null;
  const unit = headDim ?? 1;
  const tileRows = Math.max(unit, Math.floor(TILE / columns / unit) * unit);
  const read = tileReader(request, tensor, plan, columns);
  const stride = rowBytes(plan.type, columns);
  for (let first = 0; first < rows; first += tileRows) {
    const bytes = await read(first, Math.min(tileRows, rows - first));
    await writer.append(headDim === null ? bytes : interleave(bytes, stride, headDim));
  }
}

/** Rows of the finished weight, in Hugging Face's order and the file's type. */
function tileReader(
  request: MergedModel,
  tensor: StoredTensor,
  plan: MergedLayout['tensors'][number],
  columns: number,
): (first: number, count: number) => Promise<Uint8Array> {
  const path = plan.source.slice(0, -'.weight'.length);
  const [a, b] = [request.adapter?.tensors.get(peftName(path, 'A')), request.adapter?.tensors.get(peftName(path, 'B'))];
  const replacement = request.weights?.get(plan.source);
  if (!replacement && !(a && b) && tensor.type === plan.type) return (first, count) => tensor.readRows(first, count);
  const scale = request.adapter ? loraScale(request.adapter.config) : 0;
  return async (first, count) => {
    const values = replacement
      ? replacement.slice(first * columns, (first + count) * columns)
      : dequantize(tensor.type, await tensor.readRows(first, count));
    if (a && b) addLora(values, first, columns, a, b, scale);
    if (!allFinite(values)) {
      throw new ExportError(
        `${plan.source} has values that are not finite numbers, so the merged model would be broken; export an earlier checkpoint, or train with a lower rate.`,
      );
    }
    return quantize(plan.type, values);
  };
}

/** Whole heads of rows from Hugging Face's order into GGUF's. */
function interleave(bytes: Uint8Array, stride: number, headDim: number): Uint8Array {
  const ordered = new Uint8Array(bytes.byteLength);
  for (let row = 0; row * stride < bytes.byteLength; row++) {
    ordered.set(bytes.subarray(row * stride, (row + 1) * stride), interleavedRow(row, headDim) * stride);
  }
  return ordered;
}
