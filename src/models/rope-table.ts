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
  /** Whether the tables hold long-rope's factors for long texts. */
  private long = false;

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

  /** Fills the allocated tables, for texts up to `longest` tokens. */
  upload(gpu: Gpu, longest = this.positions): void {
    this.long = isLong(this.config, longest);
    for (const [rope, { buffer }] of this.storages) {
      gpu.device.queue.writeBuffer(buffer, 0, ropeTable(this.config, rope, this.positions, longest) as Float32Array<ArrayBuffer>);
    }
  }

  /** Refills the tables where a batch's positions ask for long-rope's other factors: one choice for all its texts, as in transformers. */
  fit(gpu: Gpu, positions: Uint32Array): void {
    if (this.config.rope_long === null) return;
    const longest = positions.reduce((most, position) => Math.max(most, position), 0) + 1;
    if (isLong(this.config, longest) !== this.long) this.upload(gpu, longest);
  }
}

/** Whether the longest of some texts takes long-rope's factors for long ones. */
function isLong({ rope_long }: ModelConfig, longest: number): boolean {
  return rope_long !== null && longest > rope_long.original_max_position_embeddings;
}

/**
 * Cosines and sines of every position, `[positions, rotaryDim]`: half of a row is cosines, half sines, of the rope that
 * full (`global`) or sliding layers (`local`) use. Computed here in f64, because WGSL promises its own sin and cos only to 2^-11.
 * Long-rope's factors for long texts are used where the `longest` text goes beyond the original length.
 */
export function ropeTable(config: ModelConfig, which: Rope, positions: number, longest: number): Float32Array {
  const { rope_long: long } = config;
  const size = rotaryDim(config);
  const theta = which === 'local' ? config.rope_local_base_freq! : config.rope_theta;
  const factors = which === 'local' ? null : isLong(config, longest) ? long!.factors : config.rope_factors;
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
