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

/**
 * Largest tensors first, each into the smallest slot that is free for its whole life (the "greedy by size" of Pisarchyk
 * and Lee 2020): slots never grow, and a small tensor that lives long does not hold a large slot back.
 */
function assignSlots(dispatches: readonly Dispatch[]): { slots: Map<Tensor, number>; sizes: number[] } {
  const lives = [...lifetimes(dispatches)].map(([tensor, life]) => ({ tensor, ...life, bytes: alignBytes(tensorBytes(tensor)) }));
  lives.sort((a, b) => b.bytes - a.bytes || a.first - b.first);
  const slots = new Map<Tensor, number>();
  const sizes: number[] = [];
  const busy: Uint8Array[] = [];
  for (const { tensor, first, last, bytes } of lives) {
    let slot = sizes.length - 1;
    while (slot >= 0 && busy[slot]!.subarray(first, last + 1).includes(1)) slot--;
    if (slot < 0) {
      slot = sizes.push(bytes) - 1;
      busy.push(new Uint8Array(dispatches.length));
    }
    busy[slot]!.fill(1, first, last + 1);
    slots.set(tensor, slot);
  }
  return { slots, sizes };
}
