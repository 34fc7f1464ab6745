import { alignBytes, createStorage, destroyBuffer, type Gpu } from './device';
import { externalTensor, type BufferRange, type DType, type Shape, type Tensor } from './program';

/** What memory is for, as the forecast shows it. */
export type MemoryKind = 'model' | 'adapter' | 'optimizer' | 'activations' | 'logits' | 'other';

/** GPU memory that is declared first and allocated later, so that a run's size is known before it takes any. */
export class Storage {
  private allocated: GPUBuffer | null = null;

  constructor(
    readonly label: string,
    readonly kind: MemoryKind,
    readonly bytes: number,
  ) {}

  get buffer(): GPUBuffer {
    if (!this.allocated) throw new Error(`${this.label} was used before it was allocated.`);
    return this.allocated;
  }

  allocate(gpu: Gpu): void {
    this.allocated ??= createStorage(gpu, this.label, this.bytes);
  }

  destroy(gpu: Gpu): void {
    if (this.allocated) destroyBuffer(gpu, this.allocated);
    this.allocated = null;
  }

  /** A binding into this storage; `offset` in bytes, a multiple of 256. */
  range(offset = 0, size = this.bytes - offset): BufferRange {
    const owner = (): GPUBuffer => this.buffer;
    return {
      get buffer() {
        return owner();
      },
      offset,
      size: Math.max(16, Math.ceil(size / 16) * 16),
    };
  }

  /** A tensor over this storage. */
  tensor(name: string, shape: Shape, dtype: DType = 'f32', offset = 0, size = this.bytes - offset): Tensor {
    return externalTensor(name, shape, dtype, this.range(offset, size));
  }
}

/** All storages of one owner (a model, a run): summed for the forecast, allocated and freed together. */
export class MemoryLedger {
  private readonly storages: Storage[] = [];

  declare(label: string, kind: MemoryKind, bytes: number): Storage {
    const storage = new Storage(label, kind, alignBytes(bytes));
    this.storages.push(storage);
    return storage;
  }

  /** Bytes by kind. */
  bytes(): Record<MemoryKind, number> {
    const sums: Record<MemoryKind, number> = { model: 0, adapter: 0, optimizer: 0, activations: 0, logits: 0, other: 0 };
    for (const storage of this.storages) sums[storage.kind] += storage.bytes;
    return sums;
  }

  allocate(gpu: Gpu): void {
    for (const storage of this.storages) storage.allocate(gpu);
  }

  destroy(gpu: Gpu): void {
    for (const storage of this.storages) storage.destroy(gpu);
  }
}
