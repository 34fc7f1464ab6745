/** Files on disk as sources and sinks. Node only: nothing that the browser loads may import this. */
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { checkRange, type ByteSink, type ByteSource } from '../core/bytes';
import { StorageError } from '../core/errors';
import { isOutOfSpace, outOfSpace } from './space';

/** A file on disk as a source; the file stays open until `close`. */
export class FileSource implements ByteSource {
  private constructor(
    private readonly handle: FileHandle,
    readonly name: string,
    readonly path: string,
    readonly size: number,
  ) {}

  /** Opens a file for reading; a StorageError where it is absent, unreadable or a folder. */
  static async open(path: string): Promise<FileSource> {
    const handle = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
      throw new StorageError(
        error.code === 'ENOENT'
          ? `${path} does not exist; check the path.`
          : `${path} could not be opened (${error.code ?? error.message}); check its permissions.`,
      );
    });
    const stats = await handle.stat();
    if (!stats.isFile()) {
      await handle.close();
      throw new StorageError(`${path} is a folder or device, where a file was expected; give the path of a file.`);
    }
    return new FileSource(handle, basename(path), path, stats.size);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    checkRange(this, offset, length);
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.handle.read(bytes, filled, length - filled, offset + filled);
      if (bytesRead === 0) {
        throw new StorageError(
          `${this.path} was cut while it was read: byte ${offset + filled} ` +
            'is gone; put the whole file back and try again.',
        );
      }
      filled += bytesRead;
    }
    return bytes;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/** Writes beside the final name and renames on close, so that a reader never sees half a file. */
export class FileSink implements ByteSink {
  private written = 0;
  private constructor(
    private readonly handle: FileHandle,
    private readonly path: string,
    private readonly beside: string,
  ) {}

  /** Starts a file; what `path` held before stays until `close`. */
  static async create(path: string): Promise<FileSink> {
    const beside = `${path}.part`;
    const handle = await open(beside, 'w').catch((error: NodeJS.ErrnoException) => {
      throw new StorageError(
        `${path} could not be written (${error.code ?? error.message}); ` +
          'check that its folder exists and may be written to.',
      );
    });
    return new FileSink(handle, path, beside);
  }

  async write(bytes: Uint8Array): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const { bytesWritten } = await this.handle.write(bytes, done, bytes.length - done).catch((error: unknown) => {
        if (isOutOfSpace(error)) throw outOfSpace(basename(this.path), this.written + bytes.length, null, 'Nothing was replaced.');
        throw error;
      });
      done += bytesWritten;
    }
    this.written += bytes.length;
  }

  async close(): Promise<void> {
    await this.handle.sync();
    await this.handle.close();
    await rename(this.beside, this.path);
    await syncFolder(dirname(this.path));
  }

  async abort(): Promise<void> {
    await this.handle.close();
    await rm(this.beside, { force: true });
  }
}

/** Makes a rename inside `path` survive a power cut, where the system lets folders be synced (not on Windows). */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Replaces a small file as a whole: written beside, flushed to disk, renamed. */
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const sink = await FileSink.create(path);
  try {
    await sink.write(bytes);
  } catch (error) {
    await sink.abort();
    throw error;
  }
  await sink.close();
}
