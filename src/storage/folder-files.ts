/** Kept files in a folder on disk. Node only: nothing that the browser loads may import this. */
import { mkdir, open, readdir, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ByteSource } from '../core/bytes';
import type { FileMedium, MediumWriter } from './files';
import { FileSource } from './node-file';

export class FolderFiles implements FileMedium {
  constructor(private readonly root: string) {}

  async names(folder: readonly string[]): Promise<string[]> {
    return readdir(join(this.root, ...folder)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
  }
  async read(path: readonly string[]): Promise<ByteSource | null> {
    const file = join(this.root, ...path);
    const stats = await stat(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    return stats && { name: path.at(-1)!, size: stats.size, read: (offset, length) => readOnce(file, offset, length) };
  }
  async append(path: readonly string[], at: number): Promise<MediumWriter> {
    const file = join(this.root, ...path);
    await mkdir(dirname(file), { recursive: true });
    const handle = await open(file, at > 0 ? 'r+' : 'w');
    await handle.truncate(at);
    let position = at;
    return {
      async write(bytes) {
        let done = 0;
        while (done < bytes.length) {
          const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position);
          done += bytesWritten;
          position += bytesWritten;
        }
      },
      async close() {
        await handle.sync();
        await handle.close();
      },
    };
  }
  remove(path: readonly string[]): Promise<void> {
    return rm(join(this.root, ...path), { recursive: true, force: true });
  }
  async free(): Promise<number | null> {
    await mkdir(this.root, { recursive: true });
    const { bavail, bsize } = await statfs(this.root);
    return bavail * bsize;
  }
}

/** Opened for each read, as nobody says when a kept file is no longer needed. */
async function readOnce(path: string, offset: number, length: number): Promise<Uint8Array> {
  const source = await FileSource.open(path);
  try {
    return await source.read(offset, length);
  } finally {
    await source.close();
  }
}
