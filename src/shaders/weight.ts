import type { WeightType } from '../core/model';
import type { Tensor } from '../runtime/program';

/**
 * A frozen matrix `[rows, columns]` that stays on the GPU in its stored type. It is cut by rows where one
 * binding could not hold it; `parts` are the packed buffers of a shard in the order of its type's layout
 * (shaders/linear/pack.ts).
 */
export interface FrozenWeight {
  name: string;
  type: WeightType;
  rows: number;
  columns: number;
  shards: { firstRow: number; rows: number; parts: Tensor[] }[];
}

/** A matrix to multiply by: frozen as stored, or an f32 tensor that may be trained. */
export type Weight = FrozenWeight | Tensor;

export function isFrozen(weight: Weight): weight is FrozenWeight {
  return 'shards' in weight;
}
