import type { Adapter } from '../core/adapter';
import type { Example } from '../core/example';
import type { ModelSource } from '../core/model';
import type { CheckpointStore } from '../storage/checkpoints';
import type { Recipe } from './recipe';

/** All that a run is made of. */
export interface TrainingJob {
  recipe: Recipe;
  /** What lies on the GPU. */
  model: ModelSource;
  /** The same base before it was quantised (recipe.quantize_base), to measure what that costs; else null. */
  original: ModelSource | null;
  train: readonly Example[];
  eval: readonly Example[];
  /** The adapter to start from (recipe.lora.init_adapter), already read and of the recipe's shape. */
  initialAdapter: Adapter | null;
  /** Questions answered along the way, as token ids. */
  samples: readonly { prompt: string; ids: readonly number[] }[];
  decode: (ids: readonly number[]) => string;
  stopIds: ReadonlySet<number>;
  checkpoints: CheckpointStore;
  /** Go on from the last checkpoint where there is one. */
  resume: boolean;
}
