import { alignBytes, createStorage, destroyBuffer, type Gpu } from './device';
import { tensorBytes, type Dispatch, type Tensor } from './program';

/**
 * Memory for scratch tensors. Each program is laid out into slots: a tensor holds a slot from its first
 * write to its last use, then the slot serves another. Slots are buffers of their own, because WebGPU
 * refuses one buffer as input and output of the same dispatch. Programs that never run at the same time
 * share an arena; its size is known before anything is allocated, which is what the forecast adds up.
 */
export class Arena {
  private sizes: number[] = [];
  private buffers: GPUBuffer[] | null = null;

  /** Finds a slot for every scratch tensor of a program. Call for each program, then `allocate`. */
  layout(dispatches: readonly Dispatch[]): Map<Tensor, number> {
    if (this.buffers) throw new Error('The arena is already allocated.');
    const { slots, sizes } = assignSlots(dispatches);
    // Largest with largest, so that programs overlap as well as they can.
    const order = sizes.map((_, i) => i).sort((a, b) => sizes[b]! - sizes[a]!);
    const place = new Map(order.map((slot, index) => [slot, index]));
    order.forEach((slot, index) => {
      this.sizes[index] = Math.max(this.sizes[index] ?? 0, sizes[slot]!);
    });
    return new Map([...slots].map(([tensor, slot]) => [tensor, place.get(slot)!]));
  }

  /** Bytes that `allocate` will take. */
  get bytes(): number {
    return this.sizes.reduce((sum, size) => sum + size, 0);
  }

  allocate(gpu: Gpu): void {
    this.buffers ??= this.sizes.map((size, i) => createStorage(gpu, `scratch ${i}`, size));
  }

  buffer(slot: number): GPUBuffer {
    return this.buffers![slot]!;
  }

  destroy(gpu: Gpu): void {
    for (const buffer of this.buffers ?? []) destroyBuffer(gpu, buffer);
    this.buffers = null;
  }
}

/** First and last dispatch that touch each scratch tensor. */
function lifetimes(dispatches: readonly Dispatch[]): Map<Tensor, { first: number; last: number }> {
  const lives = new Map<Tensor, { first: number; last: number }>();
  dispatches.forEach((dispatch, index) => {
    for (const { tensor } of dispatch.bindings) {
      if (tensor.range) continue;
      const life = lives.get(tensor);
      if (life) life.last = index;
      else lives.set(tensor, { first: index, last: index });
    }
  });
  return lives;
}

/** Greedy over time: the smallest free slot that fits, else the largest free one grown, else a new one. */
function assignSlots(dispatches: readonly Dispatch[]): { slots: Map<Tensor, number>; sizes: number[] } {
  const lives = lifetimes(dispatches);
  const starts = new Map<number, Tensor[]>();
  const ends = new Map<number, Tensor[]>();
  for (const [tensor, { first, last }] of lives) {
    starts.set(first, [...(starts.get(first) ?? []), tensor]);
    ends.set(last, [...(ends.get(last) ?? []), tensor]);
  }
  const slots = new Map<Tensor, number>();
  const sizes: number[] = [];
  const free = new Set<number>();
  dispatches.forEach((_, index) => {
    for (const tensor of starts.get(index) ?? []) {
      const need = alignBytes(tensorBytes(tensor));
      const slot = pickSlot(free, sizes, need);
      free.delete(slot);
      sizes[slot] = Math.max(sizes[slot] ?? 0, need);
      slots.set(tensor, slot);
    }
    for (const tensor of ends.get(index) ?? []) free.add(slots.get(tensor)!);
  });
  return { slots, sizes };
}

function pickSlot(free: ReadonlySet<number>, sizes: readonly number[], need: number): number {
  let fitting = -1;
  let largest = -1;
  for (const slot of free) {
    const size = sizes[slot]!;
    if (size >= need && (fitting < 0 || size < sizes[fitting]!)) fitting = slot;
    if (largest < 0 || size > sizes[largest]!) largest = slot;
  }
  if (fitting >= 0) return fitting;
  return largest >= 0 ? largest : sizes.length;
}
