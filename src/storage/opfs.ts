/** Files in the browser's origin-private file system, under the folder "hone". */
import { BlobSource, type ByteSource } from '../core/bytes';
import { StorageError } from '../core/errors';
import type { FileMedium, MediumWriter } from './files';
import { freeBytes } from './space';

/** The part used here of FileSystemSyncAccessHandle, which only dedicated workers have. */
interface SyncAccessHandle {
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}
type FileHandle = FileSystemFileHandle & { createSyncAccessHandle?: () => Promise<SyncAccessHandle> };

const FOLDER = 'hone';
const isAbsent = (error: unknown) => error instanceof DOMException && error.name === 'NotFoundError';

export class OpfsFiles implements FileMedium {
  async names(folder: readonly string[]): Promise<string[]> {
    const handle = await this.folder(folder, false);
    const names: string[] = [];
    if (handle) for await (const name of handle.keys()) names.push(name);
    return names;
  }

  async read(path: readonly string[]): Promise<ByteSource | null> {
    const folder = await this.folder(path.slice(0, -1), false);
    try {
      const handle = await folder?.getFileHandle(path.at(-1)!);
      return handle ? new BlobSource(await handle.getFile()) : null;
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }

  async append(path: readonly string[], at: number): Promise<MediumWriter> {
    const folder = (await this.folder(path.slice(0, -1), true))!;
    const handle: FileHandle = await folder.getFileHandle(path.at(-1)!, { create: true });
    try {
      return handle.createSyncAccessHandle ? syncWriter(await handle.createSyncAccessHandle(), at) : await streamWriter(handle, at);
    } catch (error) {
      if (!(error instanceof DOMException && error.name === 'NoModificationAllowedError')) throw error;
      throw new StorageError(`${decodeURIComponent(path.at(-1)!)} is being written in another tab; wait for it, or close that tab.`);
    }
  }

  /** An empty path removes everything. */
  async remove(path: readonly string[]): Promise<void> {
    const folder = path.length === 0 ? await navigator.storage.getDirectory() : await this.folder(path.slice(0, -1), false);
    try {
      await folder?.removeEntry(path.at(-1) ?? FOLDER, { recursive: true });
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
  }

  free(): Promise<number | null> {
    return freeBytes();
  }

  private async folder(path: readonly string[], create: boolean): Promise<FileSystemDirectoryHandle | null> {
    let folder = await navigator.storage.getDirectory().catch((error: unknown) => {
      throw new StorageError(
        `This browser keeps no files for this page (${String(error)}); ` +
          'leave private browsing, or allow this site to keep data.',
      );
    });
    try {
      for (const name of [FOLDER, ...path]) folder = await folder.getDirectoryHandle(name, { create });
      return folder;
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }
}

/** Bytes are in the file as soon as they are written: a killed tab keeps them. */
function syncWriter(handle: SyncAccessHandle, at: number): MediumWriter {
  handle.truncate(at);
  let position = at;
  // async turns what the handle throws into a rejection.
  return {
    async write(bytes) {
      let done = 0;
      while (done < bytes.length) {
        const taken = handle.write(bytes.subarray(done), { at: position });
        if (taken === 0) throw new DOMException('The file system took no more bytes', 'QuotaExceededError');
        done += taken;
        position += taken;
      }
    },
    async close() {
      handle.flush();
      handle.close();
    },
  };
}

/** Outside a worker: bytes are in the file once it is closed. */
async function streamWriter(handle: FileSystemFileHandle, at: number): Promise<MediumWriter> {
  const stream = await handle.createWritable({ keepExistingData: at > 0 });
  await stream.truncate(at);
  await stream.seek(at);
  return {
    write: (bytes) => stream.write(bytes.slice()),
    close: () => stream.close(),
  };
}
