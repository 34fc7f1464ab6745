import type { ModelConfig } from '../core/model';
import { rotaryDim } from '../core/rope';
import type { Gpu } from '../runtime/device';
import type { MemoryLedger, Storage } from '../runtime/memory';
import type { Tensor } from '../runtime/program';

/** The ropes of a config's layers. */
type Rope = 'global' | 'local';

/** The tables of all ropes that a config uses, for `positions` positions. */
export class RopeTables {
  /** `[positions, rotaryDim]`. */
  readonly tensors: ReadonlyMap<Rope, Tensor>;
  private readonly storages: ReadonlyMap<Rope, Storage>;

  constructor(
    private readonly config: ModelConfig,
    private readonly positions: number,
    memory: MemoryLedger,
  ) {
    const ropes: Rope[] = config.rope_local_base_freq === null ? ['global'] : ['global', 'local'];
    const declare = (rope: Rope): Storage => memory.declare(`${rope} rope`, 'other', positions * rotaryDim(config) * 4);
    this.storages = new Map(ropes.map((rope) => [rope, declare(rope)]));
    this.tensors = new Map([...this.storages].map(([rope, storage]) => [rope, storage.tensor(storage.label, [positions, rotaryDim(config)])]));
  }

  /** Fills the allocated tables. */
  upload(gpu: Gpu): void {
    for (const [rope, { buffer }] of this.storages) {
      gpu.device.queue.writeBuffer(buffer, 0, ropeTable(this.config, rope, this.positions) as Float32Array<ArrayBuffer>);
    }
  }
}

/**
 * Cosines and sines of every position, `[positions, rotaryDim]`: half of a row is cosines, half sines, of the rope that
 * full (`global`) or sliding layers (`local`) use. Computed here in f64, because WGSL promises its own sin and cos only to 2^-11.
 * Long-rope's factors for long texts are used where `positions` goes beyond the original length.
 */
export function ropeTable(config: ModelConfig, which: Rope, positions: number): Float32Array {
  const { rope_long: long } = config;
  const size = rotaryDim(config);
  const theta = which === 'local' ? config.rope_local_base_freq! : config.rope_theta;
  const isLong = long !== null && positions > long.original_max_position_embeddings;
  const factors = which === 'local' ? null : isLong ? long.factors : config.rope_factors;
  const magnitude = long?.attention_factor ?? 1;
  const half = size / 2;
  const table = new Float32Array(positions * size);
  for (let i = 0; i < half; i++) {
    const frequency = theta ** ((-2 * i) / size) / (factors?.[i] ?? 1);
    for (let p = 0; p < positions; p++) {
      table[p * size + i] = magnitude * Math.cos(p * frequency);
      table[p * size + half + i] = magnitude * Math.sin(p * frequency);
    }
  }
  return table;
}
