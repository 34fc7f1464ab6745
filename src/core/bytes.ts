/**
 * Where bytes come from and where they go. Files are read range by range and written front to back,
 * so that no file, whatever its size, has to fit in memory.
 */
export interface ByteSource {
  /** The file's name, for messages. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`; rejects where the file ends before them. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface ByteSink {
  /** Appends; resolves when the bytes are taken (back-pressure). The caller may reuse `bytes` after. */
  write(bytes: Uint8Array): Promise<void>;
  /** Finishes the file: only after this does it count as written. */
  close(): Promise<void>;
  /** Gives up; nothing half-written stays where a reader would take it for whole. */
  abort(reason: unknown): Promise<void>;
}

/** A File or Blob of the browser as a source. */
export class BlobSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  constructor(
    private readonly blob: Blob,
    name?: string,
  ) {
    this.name = name ?? (blob instanceof File ? blob.name : 'file');
    this.size = blob.size;
  }
  async read(offset: number, length: number): Promise<Uint8Array> {
    checkRange(this, offset, length);
    return new Uint8Array(await this.blob.slice(offset, offset + length).arrayBuffer());
  }
}

/** Bytes already in memory as a source. */
export class MemorySource implements ByteSource {
  readonly size: number;
  constructor(
    private readonly bytes: Uint8Array,
    readonly name = 'memory',
  ) {
    this.size = bytes.byteLength;
  }
  read(offset: number, length: number): Promise<Uint8Array> {
    checkRange(this, offset, length);
    return Promise.resolve(this.bytes.slice(offset, offset + length));
  }
}

/** Keeps what is written, for tests and small files. */
export class MemorySink implements ByteSink {
  private readonly chunks: Uint8Array[] = [];
  closed = false;
  write(bytes: Uint8Array): Promise<void> {
    this.chunks.push(bytes.slice());
    return Promise.resolve();
  }
  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
  abort(): Promise<void> {
    this.chunks.length = 0;
    return Promise.resolve();
  }
  /** All that was written, in order. */
  bytes(): Uint8Array {
    const total = this.chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    const all = new Uint8Array(total);
    let at = 0;
    for (const chunk of this.chunks) {
      all.set(chunk, at);
      at += chunk.byteLength;
    }
    return all;
  }
}

/** Throws a RangeError that names the file where a read would pass its end. */
export function checkRange(source: ByteSource, offset: number, length: number): void {
  if (offset < 0 || length < 0 || offset + length > source.size) {
    throw new RangeError(`${source.name} ends at byte ${source.size}; bytes ${offset} to ${offset + length} were wanted`);
  }
}
