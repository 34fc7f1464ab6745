/** Where exports go in a browser: a file the user chose, or a Blob for a download. */
import type { ByteSink } from '../core/bytes';
import { isOutOfSpace, outOfSpace } from './space';

/** Bytes gathered before they become a Blob of their own, which the browser may then keep on disk. */
const BLOB_PART = 8 * 1024 * 1024;

/** Writes into a stream, such as a File System Access file: `abort` leaves the chosen file as it was. */
export class StreamSink implements ByteSink {
  private readonly writer: WritableStreamDefaultWriter<Uint8Array>;
  private written = 0;
  constructor(stream: WritableStream<Uint8Array>) {
    this.writer = stream.getWriter();
  }
  async write(bytes: Uint8Array): Promise<void> {
    // A copy: the caller may reuse its buffer, and a stream moved between threads would clone all of a larger one.
    try {
      await this.writer.write(bytes.slice());
    } catch (error) {
      if (isOutOfSpace(error)) throw outOfSpace('The file', this.written + bytes.length, null, 'Nothing was saved.');
      throw error;
    }
    this.written += bytes.length;
  }
  close(): Promise<void> {
    return this.writer.close();
  }
  abort(reason: unknown): Promise<void> {
    return this.writer.abort(reason);
  }
}

/** Collects a download as many small Blobs, never as one ArrayBuffer. */
export class BlobSink implements ByteSink {
  private parts: Blob[] = [];
  private pending: Uint8Array<ArrayBuffer>[] = [];
  private pendingBytes = 0;
  private result: Blob | null = null;
  constructor(private readonly type = 'application/octet-stream') {}

  write(bytes: Uint8Array): Promise<void> {
    this.pending.push(bytes.slice());
    this.pendingBytes += bytes.length;
    if (this.pendingBytes >= BLOB_PART) this.flush();
    return Promise.resolve();
  }
  close(): Promise<void> {
    this.flush();
    this.result = new Blob(this.parts, { type: this.type });
    this.parts = [];
    return Promise.resolve();
  }
  abort(): Promise<void> {
    this.parts = [];
    this.pending = [];
    this.pendingBytes = 0;
    return Promise.resolve();
  }
  /** The whole file; null until `close`. */
  blob(): Blob | null {
    return this.result;
  }
  private flush(): void {
    if (this.pendingBytes === 0) return;
    this.parts.push(new Blob(this.pending));
    this.pending = [];
    this.pendingBytes = 0;
  }
}
