import { dequantize } from '../core/blocks';
import { expectedTensors } from '../core/layout';
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

/** Builds the tree of weights from a lookup by name. */
function assemble(config: ModelConfig, matrix: (name: string) => Weight, vector: (name: string) => Tensor): DecoderWeights {
  const expected = expectedTensors(config);
  const collect = <K extends string, T>(paths: Readonly<Record<K, string>>, make: (name: string) => T): Partial<Record<K, T>> =>
    Object.fromEntries(
      Object.entries<string>(paths).flatMap(([key, path]) => (expected.has(path) ? [[key, make(path)]] : [])),
    ) as Partial<Record<K, T>>;
  const embed = matrix('model.embed_tokens.weight');
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i): LayerWeights => {
    const path = `model.layers.${i}`;
    const of = (kind: 'weight' | 'bias'): Record<Projection, string> =>
      Object.fromEntries(PROJECTIONS.map((name) => [name, `${path}.${projectionPath(name)}.${kind}`])) as Record<Projection, string>;
    const norms = Object.fromEntries(Object.entries(NORMS).map(([name, norm]) => [name, `${path}.${norm}.weight`])) as Record<Norm, string>;
    return { projections: collect(of('weight'), matrix), biases: collect(of('bias'), vector), norms: collect(norms, vector) };
  });
  const head = config.tie_word_embeddings ? embed : matrix('lm_head.weight');
  return { embed, layers, norm: vector('model.norm.weight'), head };
}

/** Weights that training changes: all of them are parameters. */
export function trainedWeights(config: ModelConfig, parameters: Parameters): DecoderWeights {
  const tensor = (name: string): Tensor => parameters.tensor(name);
  return assemble(config, tensor, tensor);
}

/** Frozen weights in their stored types: declared at once, filled by `upload`. */
export class FrozenWeights {
  readonly weights: DecoderWeights;
  private readonly targets = new Map<string, { tensor: StoredTensor; shards: { firstRow: number; rows: number; parts: Storage[] }[] }>();

  constructor(
    private readonly source: ModelSource,
    maxBindingBytes: number,
    private readonly memory: MemoryLedger,
  ) {
    const matrix = (name: string): FrozenWeight => this.declare(source.tensors.get(name)!, maxBindingBytes);
    const vector = (name: string): Tensor => this.declareVector(source.tensors.get(name)!);
    this.weights = assemble(source.config, matrix, vector);
  }

  private declare(tensor: StoredTensor, maxBindingBytes: number): FrozenWeight {
    const [rows, columns] = tensor.shape as [number, number];
    const perRow = Math.max(...packedBytes(tensor.type, 256, columns)) / 256;
    // Whole multiples of 64 rows, so that every shard's parts begin aligned.
    const most = Math.max(64, Math.floor(maxBindingBytes / perRow / 64) * 64);
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
