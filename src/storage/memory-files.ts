import { MemorySink, MemorySource, type ByteSource } from '../core/bytes';
import type { FileMedium, MediumWriter } from './files';

/** Files in memory: for tests, and for a browser that keeps nothing. */
export class MemoryFiles implements FileMedium {
  private readonly files = new Map<string, MemorySink>();

  names(folder: readonly string[]): Promise<string[]> {
    const names = [...this.files.keys()].map((key) => key.split('/')).filter((path) => folder.every((part, i) => path[i] === part));
    return Promise.resolve([...new Set(names.map((path) => path[folder.length]!))]);
  }
  read(path: readonly string[]): Promise<ByteSource | null> {
    const file = this.files.get(path.join('/'));
    return Promise.resolve(file ? new MemorySource(file.bytes(), path.at(-1)) : null);
  }
  async append(path: readonly string[], at: number): Promise<MediumWriter> {
    const before = this.files.get(path.join('/'))?.bytes().subarray(0, at);
    const sink = new MemorySink();
    if (before) await sink.write(before);
    this.files.set(path.join('/'), sink);
    return sink;
  }
  remove(path: readonly string[]): Promise<void> {
    const start = path.join('/');
    for (const key of [...this.files.keys()]) if (key === start || key.startsWith(`${start}/`)) this.files.delete(key);
    return Promise.resolve();
  }
  free(): Promise<number | null> {
    return Promise.resolve(null);
  }
}
