import { dequantize } from '../core/blocks';
import { expectedTensors, layerTensors } from '../core/layout';
import { PROJECTIONS, projectionPath, rowBytes, type ModelConfig, type ModelSource, type Projection, type StoredTensor } from '../core/model';
import type { OnProgress } from '../core/progress';
import type { Gpu } from '../runtime/device';
import type { MemoryLedger, Storage } from '../runtime/memory';
import type { Tensor } from '../runtime/program';
import { packedBytes, packRows } from '../shaders/linear/pack';
import type { FrozenWeight, Weight } from '../shaders/weight';
import type { Parameters, ParameterSpec } from './parameters';

/** A decoder's weights as its programs bind them. */
export interface DecoderWeights {
  embed: Weight;
  layers: LayerWeights[];
  norm: Tensor;
  /** The embedding itself where the head is tied. */
  head: Weight;
}

/** A layer's weights by the ends of their names; what its family has not is absent. */
export interface LayerWeights {
  projections: Readonly<Partial<Record<Projection, Weight>>>;
  biases: Readonly<Partial<Record<Projection, Tensor>>>;
  norms: Readonly<Partial<Record<Norm, Tensor>>>;
}

const NORMS = {
  input_layernorm: 'input_layernorm',
  q_norm: 'self_attn.q_norm',
  k_norm: 'self_attn.k_norm',
  post_attention_layernorm: 'post_attention_layernorm',
  pre_feedforward_layernorm: 'pre_feedforward_layernorm',
  post_feedforward_layernorm: 'post_feedforward_layernorm',
} as const;
export type Norm = keyof typeof NORMS;

/** Every weight of a model as a parameter: what full-parameter training trains. */
export function weightSpecs(config: ModelConfig): ParameterSpec[] {
  return [...expectedTensors(config)].map(([name, shape]) => ({ name, shape }));
}

/** How a tree of weights looks them up by name. */
interface Lookup {
  matrix: (name: string) => Weight;
  vector: (name: string) => Tensor;
}

/** Builds the tree of weights. */
function assemble(config: ModelConfig, lookup: Lookup): DecoderWeights {
  const embed = lookup.matrix('model.embed_tokens.weight');
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) => layerWeights(config, i, lookup));
  const head = config.tie_word_embeddings ? embed : lookup.matrix('lm_head.weight');
  return { embed, layers, norm: lookup.vector('model.norm.weight'), head };
}

/** One layer's weights. */
export function layerWeights(config: ModelConfig, layer: number, { matrix, vector }: Lookup): LayerWeights {
  const present = layerTensors(config);
  const collect = <K extends string, T>(path: (key: K) => string, keys: readonly K[], make: (name: string) => T): Partial<Record<K, T>> =>
    Object.fromEntries(
      keys.flatMap((key) => {
        const name = path(key);
        return present.has(name) ? [[key, make(`model.layers.${layer}.${name}`)]] : [];
      }),
    ) as Partial<Record<K, T>>;
  return {
    projections: collect((key) => `${projectionPath(key)}.weight`, PROJECTIONS, matrix),
    biases: collect((key) => `${projectionPath(key)}.bias`, PROJECTIONS, vector),
    norms: collect((key) => `${NORMS[key]}.weight`, Object.keys(NORMS) as Norm[], vector),
  };
}

/** Weights that training changes: all of them are parameters. */
export function trainedWeights(config: ModelConfig, parameters: Parameters): DecoderWeights {
  const tensor = (name: string): Tensor => parameters.tensor(name);
  return assemble(config, { matrix: tensor, vector: tensor });
}

/** Weights of a model in their stored types: declared as they are asked for, then allocated, then filled by `upload`. */
export class FrozenTensors implements Lookup {
  private readonly targets = new Map<string, { tensor: StoredTensor; shards: { firstRow: number; rows: number; parts: Storage[] }[] }>();

  constructor(
    protected readonly source: ModelSource,
    private readonly maxBindingBytes: number,
    private readonly memory: MemoryLedger,
  ) {}

  readonly matrix = (name: string): FrozenWeight => this.declare(this.source.tensors.get(name)!);

  readonly vector = (name: string): Tensor => this.declareVector(this.source.tensors.get(name)!);

  private declare(tensor: StoredTensor): FrozenWeight {
    const [rows, columns] = tensor.shape as [number, number];
    const perRow = Math.max(...packedBytes(tensor.type, 256, columns)) / 256;
    // Whole multiples of 64 rows, so that every shard's parts begin aligned.
    const most = Math.max(64, Math.floor(this.maxBindingBytes / perRow / 64) * 64);
    const shards = [];
    for (let firstRow = 0; firstRow < rows; firstRow += most) {
      const count = Math.min(most, rows - firstRow);
      const parts = packedBytes(tensor.type, count, columns).map((bytes, i) => this.memory.declare(`${tensor.name} ${i}`, 'model', bytes));
      shards.push({ firstRow, rows: count, parts });
    }
    this.targets.set(tensor.name, { tensor, shards });
    const bound = shards.map((shard) => ({ ...shard, parts: shard.parts.map((part) => part.tensor(tensor.name, [part.bytes / 4], 'u32')) }));
    return { name: tensor.name, type: tensor.type, rows, columns, shards: bound };
  }

  private declareVector(tensor: StoredTensor): Tensor {
    const length = tensor.shape[0]!;
    const part = this.memory.declare(tensor.name, 'model', length * 4);
    this.targets.set(tensor.name, { tensor, shards: [{ firstRow: 0, rows: 1, parts: [part] }] });
    return part.tensor(tensor.name, [length]);
  }

  /** Reads the files once, a few megabytes at a time, into the allocated buffers. */
  async upload(gpu: Gpu, onProgress?: OnProgress): Promise<void> {
    const total = [...this.targets.values()].reduce((sum, { tensor }) => sum + storedBytes(tensor), 0);
    let done = 0;
    for (const { tensor, shards } of this.targets.values()) {
      for (const shard of shards) await this.uploadShard(gpu, tensor, shard);
      done += storedBytes(tensor);
      onProgress?.({ label: `Reading ${this.source.name}`, done, total, unit: 'bytes' });
    }
  }

  private async uploadShard(gpu: Gpu, tensor: StoredTensor, shard: { firstRow: number; rows: number; parts: Storage[] }): Promise<void> {
    const { queue } = gpu.device;
    if (tensor.shape.length === 1) {
      const values = dequantize(tensor.type, await tensor.readRows(0, 1));
      queue.writeBuffer(shard.parts[0]!.buffer, 0, values as Float32Array<ArrayBuffer>);
      return;
    }
    const columns = tensor.shape[1]!;
    const step = Math.max(64, Math.floor(TILE_BYTES / rowBytes(tensor.type, columns) / 64) * 64);
    for (let row = 0; row < shard.rows; row += step) {
      const count = Math.min(step, shard.rows - row);
      const parts = packRows(tensor.type, await tensor.readRows(shard.firstRow + row, count), columns);
      const offsets = packedBytes(tensor.type, row, columns);
      parts.forEach((bytes, i) => queue.writeBuffer(shard.parts[i]!.buffer, offsets[i]!, bytes as Uint8Array<ArrayBuffer>));
    }
  }
}

/** All weights of a frozen base. */
export class FrozenWeights extends FrozenTensors {
  readonly weights: DecoderWeights;

  constructor(source: ModelSource, maxBindingBytes: number, memory: MemoryLedger) {
    super(source, maxBindingBytes, memory);
    this.weights = assemble(source.config, this);
  }
}

const TILE_BYTES = 8 * 2 ** 20;

function storedBytes(tensor: StoredTensor): number {
  return tensor.shape.length === 1 ? rowBytes(tensor.type, tensor.shape[0]!) : tensor.shape[0]! * rowBytes(tensor.type, tensor.shape[1]!);
}

/** Fills trained parameters with the model's own weights, dequantised. */
export async function uploadTrained(gpu: Gpu, source: ModelSource, parameters: Parameters, onProgress?: OnProgress): Promise<void> {
  const specs = parameters.specs;
  for (const [i, { name }] of specs.entries()) {
    const tensor = source.tensors.get(name)!;
    const rows = tensor.shape.length === 1 ? 1 : tensor.shape[0]!;
    parameters.upload(gpu, name, dequantize(tensor.type, await tensor.readRows(0, rows)));
    onProgress?.({ label: `Reading ${source.name}`, done: i + 1, total: specs.length, unit: 'tensors' });
  }
}
