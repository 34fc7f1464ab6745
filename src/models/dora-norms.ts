import type { LoraModule } from '../core/adapter';
import type { OnProgress } from '../core/progress';
import { Graph } from '../autograd/graph';
import type { Arena } from '../runtime/arena';
import type { DeviceTraits, Gpu } from '../runtime/device';
import type { MemoryLedger, Storage } from '../runtime/memory';
import type { Pacer } from '../runtime/pacer';
import { Plan, planBytes } from '../runtime/plan';
import type { Dispatch, Tensor } from '../runtime/program';
import { adaptedNorms, rowSquares } from '../shaders/dora/dora';
import { isFrozen, type FrozenWeight } from '../shaders/weight';
import type { DecoderWeights } from './weights';

/** A pair of matrices and the frozen weight that it changes. */
export interface AdaptedWeight {
  path: string;
  weight: FrozenWeight;
  A: Tensor;
  B: Tensor;
  scale: number;
}

/** A module's weight as it is stored; adapters change frozen weights only. */
export function frozenProjection(weights: DecoderWeights, { path, layer, projection }: LoraModule): FrozenWeight {
  const weight = weights.layers[layer]?.projections[projection];
  if (!weight || !isFrozen(weight)) throw new Error(`${path} has no frozen weight.`);
  return weight;
}

interface Module extends AdaptedWeight {
  squares: Storage;
  norms: Storage;
}

/**
 * Lengths of the rows of W + s·B·A, which DoRA divides by, for every adapted module. What of them the weights alone give
 * is computed once; the rest whenever A or B have changed. Memory is declared at once in `memory` and `arena`.
 */
export class DoraNorms {
  private readonly modules = new Map<string, Module>();
  private readonly programs: Record<'weights' | 'norms', Dispatch[]>;
  private readonly slots: Record<'weights' | 'norms', Map<Tensor, number>>;
  private plans: Record<'weights' | 'norms', Plan> | null = null;
  private weightsRead = false;

  constructor(adapted: readonly AdaptedWeight[], traits: DeviceTraits, memory: MemoryLedger, private readonly arena: Arena) {
    for (const one of adapted) {
      const declare = (name: string): Storage => memory.declare(`${name} of ${one.path}`, 'adapter', one.weight.rows * 4);
      this.modules.set(one.path, { ...one, squares: declare('row squares'), norms: declare('row norms') });
    }
    const weights = new Graph(traits);
    const norms = new Graph(traits);
    for (const module of this.modules.values()) {
      const squares = module.squares.tensor(module.squares.label, [module.weight.rows]);
      rowSquares(weights, module.weight, squares);
      adaptedNorms(norms, module.weight, squares, module, this.norm(module.path));
    }
    this.programs = { weights: weights.program(), norms: norms.program() };
    this.slots = { weights: arena.layout(this.programs.weights), norms: arena.layout(this.programs.norms) };
  }

  /** The tensor `[out]` that a module's norms stand in after `refresh`. */
  norm(path: string): Tensor {
    const { norms, weight } = this.modules.get(path)!;
    return norms.tensor(norms.label, [weight.rows]);
  }

  /** The buffer of the same. */
  buffer(path: string): GPUBuffer {
    return this.modules.get(path)!.norms.buffer;
  }

  planBytes(): number {
    return planBytes(this.programs.weights) + planBytes(this.programs.norms);
  }

  /** Compiles the kernels; the ledger's memory is allocated before. */
  async allocate(gpu: Gpu, onProgress?: OnProgress): Promise<void> {
    const record = (name: 'weights' | 'norms'): Promise<Plan> =>
      Plan.record(gpu, this.programs[name], this.arena, this.slots[name], onProgress);
    this.plans = { weights: await record('weights'), norms: await record('norms') };
  }

  /** Brings the norms up to date with A and B. */
  async refresh(pacer: Pacer): Promise<void> {
    if (!this.weightsRead) await this.plans!.weights.run(pacer);
    this.weightsRead = true;
    await this.plans!.norms.run(pacer);
  }

  destroy(): void {
    for (const plan of Object.values(this.plans ?? {})) plan.destroy();
    this.plans = null;
  }
}
