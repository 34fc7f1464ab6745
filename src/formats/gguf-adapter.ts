import { namesOfPaths, peftName, type Adapter, type AdapterTensor, type LoraConfig } from '../core/adapter';
import { dequantize } from '../core/blocks';
import type { ByteSource } from '../core/bytes';
import { GgufError, ModelError } from '../core/errors';
import { familyOf } from '../core/families';
import type { Family } from '../core/families/family';
import { PROJECTIONS, WEIGHT_BLOCKS, projectionPath, type ModelConfig, type WeightType } from '../core/model';
import { familyOfArchitecture, ggufName, interleavedRow, isInterleaved, knownArchitectures } from '../gguf/families';
import { Metadata } from '../gguf/metadata';
import { readGguf } from '../gguf/reader';
import { TENSOR_TYPES, type TensorInfo } from '../gguf/types';
import { startsWith } from './magic';
import { LARGEST_TENSOR } from './peft-adapter';

/** Whether a file is a GGUF adapter: no model, nor anything else in GGUF. */
export async function isGgufAdapter(file: ByteSource): Promise<boolean> {
  return (await startsWith(file, 'GGUF')) && (await readGguf(file)).metadata.get('general.type')?.value === 'adapter';
}

/**
 * Reads llama.cpp's LoRA adapters: `NAME.weight.lora_a` with dims [in, r] and `.lora_b` with dims [r, out] over one
 * `adapter.lora.alpha` (0 or none: a scale of 1). With `model`, the rows of q and k are put into Hugging Face's order.
 * Throws GgufError or ModelError.
 */
export async function readGgufAdapter(file: ByteSource, model?: ModelConfig): Promise<Adapter> {
  const header = await readGguf(file);
  const metadata = new Metadata(file.name, header.metadata);
  const family = adapterFamily(file, metadata, model);
  const tensors: Adapter['tensors'] = new Map();
  const names = moduleNames(family, [...header.tensors.keys()]);
  for (const info of header.tensors.values()) {
    const match = /^(.+\.weight)\.lora_([ab])$/.exec(info.name);
    const path = match ? names.get(match[1]!) : undefined;
    if (path === undefined) {
      throw new ModelError(
        `${file.name}: the adapter holds ${info.name}, which is no LoRA matrix of an attention or MLP projection; choose another adapter.`,
      );
    }
    const half = match![2] === 'a' ? 'A' : 'B';
    const headDim = half === 'B' && model && isInterleaved(family, `${path}.weight`) ? model.head_dim : null;
    tensors.set(peftName(path, half), await readMatrix(file, info, headDim));
  }
  const config = configOf(file, metadata, ranksOf(file, tensors, [...names.values()]));
  return { config, tensors, magnitudes: new Map() };
}

function adapterFamily(file: ByteSource, metadata: Metadata, model?: ModelConfig): Family {
  const kind = metadata.optionalString('general.type') ?? 'model';
  if (kind !== 'adapter') throw new ModelError(`${file.name}: the file holds a GGUF ${kind}, not an adapter; choose a LoRA.`);
  const type = metadata.optionalString('adapter.type') ?? 'missing';
  if (type !== 'lora') throw new ModelError(`${file.name}: adapter.type is ${type}, and Hone reads lora; choose a LoRA.`);
  const architecture = metadata.optionalString('general.architecture');
  if (model && familyOf(model).gguf.architecture !== architecture) {
    throw new ModelError(
      `${file.name}: the adapter is for ${architecture ?? 'an architecture it does not name'}, ` +
        `and the model is ${familyOf(model).gguf.architecture}; choose an adapter of this model.`,
    );
  }
  const family = model ? familyOf(model) : familyOfArchitecture(architecture);
  if (!family) {
    throw new GgufError(
      `${file.name}: the architecture is ${architecture ?? 'not named'}, and Hone reads ${knownArchitectures()}; ` +
        'choose an adapter for one of these.',
    );
  }
  return family;
}

/** Module paths by the GGUF names of their weights, for the layers that the tensors name. */
function moduleNames(family: Family, tensors: readonly string[]): Map<string, string> {
  const layers = new Set(tensors.map((name) => /^blk\.(\d{1,4})\./.exec(name)?.[1]).filter((layer) => layer !== undefined));
  const names = new Map<string, string>();
  for (const layer of layers) {
    for (const projection of PROJECTIONS) {
      const path = `model.layers.${layer}.${projectionPath(projection)}`;
      const name = ggufName(family, `${path}.weight`);
      if (name !== null && tensors.some((tensor) => tensor.startsWith(`${name}.lora_`))) names.set(name, path);
    }
  }
  return names;
}

async function readMatrix(file: ByteSource, info: TensorInfo, headDim: number | null): Promise<AdapterTensor> {
  const { name, type, dims } = info;
  if (!(type in WEIGHT_BLOCKS)) {
    throw new GgufError(
      `${file.name}: tensor ${name} has type ${type} (${TENSOR_TYPES[type].id}), which Hone does not read; ` +
        'convert the adapter as F16 or F32.',
    );
  }
  const [columns, rows] = [dims[0]!, dims[1] ?? 1];
  if (dims.length !== 2 || rows * columns * 4 > LARGEST_TENSOR) {
    throw new GgufError(
      `${file.name}: tensor ${name} has the shape ${dims.join(' × ')}, and a LoRA matrix was expected; choose a plain LoRA.`,
    );
  }
  const stored = dequantize(type as WeightType, await file.read(info.offset, info.bytes));
  if (headDim === null || rows % headDim !== 0) return { shape: [rows, columns], data: stored };
  const data = new Float32Array(stored.length);
  for (let row = 0; row < rows; row++) {
    const from = interleavedRow(row, headDim) * columns;
    data.set(stored.subarray(from, from + columns), row * columns);
  }
  return { shape: [rows, columns], data };
}

/** Each module's rank, where its two matrices agree on it. */
function ranksOf(file: ByteSource, tensors: Adapter['tensors'], paths: readonly string[]): Map<string, number> {
  if (tensors.size === 0) throw new ModelError(`${file.name}: the adapter holds no tensors; convert it again.`);
  const ranks = new Map<string, number>();
  for (const path of paths) {
    const [a, b] = [tensors.get(peftName(path, 'A')), tensors.get(peftName(path, 'B'))];
    if (!a || !b) {
      throw new ModelError(
        `${file.name}: the adapter has one half of the pair of ${path} and lacks the other; convert it again.`,
      );
    }
    if (a.shape[0] !== b.shape[1]) {
      throw new ModelError(
        `${file.name}: lora_a of ${path} has rank ${a.shape[0]}, and lora_b has rank ${b.shape[1]}; convert it again.`,
      );
    }
    ranks.set(path, a.shape[0]);
  }
  return ranks;
}

function configOf(file: ByteSource, metadata: Metadata, ranks: ReadonlyMap<string, number>): LoraConfig {
  const alpha = metadata.optionalNumber('adapter.lora.alpha') ?? 0;
  if (!(alpha >= 0 && Number.isFinite(alpha))) {
    throw new GgufError(
      `${file.name}: adapter.lora.alpha is ${alpha}, and a positive number was expected; convert the adapter again.`,
    );
  }
  const counts = new Map<number, number>();
  for (const rank of ranks.values()) counts.set(rank, (counts.get(rank) ?? 0) + 1);
  const r = [...counts].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
  const others = Object.fromEntries([...ranks].filter(([, rank]) => rank !== r));
  return {
    r,
    lora_alpha: alpha === 0 ? r : alpha,
    lora_dropout: 0,
    target_modules: namesOfPaths([...ranks.keys()]),
    use_rslora: false,
    use_dora: false,
    rank_pattern: others,
    // Without an alpha llama.cpp's scale is 1 whatever the rank.
    alpha_pattern: alpha === 0 ? others : {},
  };
}
