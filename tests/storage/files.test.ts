import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemorySource } from '../../src/core/bytes';
import { StorageError } from '../../src/core/errors';
import { Files, type FileMedium, type MediumWriter } from '../../src/storage/files';
import { FolderFiles } from '../../src/storage/folder-files';
import { MemoryFiles } from '../../src/storage/memory-files';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hone-files-'));
});
afterAll(() => rm(folder, { recursive: true }));

const bytes = (length: number, seed = 1) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 255);

let count = 0;
const media: [string, () => FileMedium][] = [
  ['memory', () => new MemoryFiles()],
  ['a folder', () => new FolderFiles(join(folder, String(++count)))],
];

describe.each(media)('files kept in %s', (_, make) => {
  let medium: FileMedium;
  let store: Files;
  beforeEach(() => {
    medium = make();
    store = new Files(medium);
  });

  it('come back as they were put, under their own names', async () => {
    await store.put('org/model@main', 'sub/dir/weights (1).gguf', new MemorySource(bytes(1000)));
    await store.put('..', '..', new MemorySource(bytes(3, 9)));
    const again = new Files(medium);
    const source = await again.open('org/model@main', 'sub/dir/weights (1).gguf');
    expect([source.name, source.size]).toEqual(['sub/dir/weights (1).gguf', 1000]);
    expect(await source.read(0, 1000)).toEqual(bytes(1000));
    expect(await source.read(998, 2)).toEqual(bytes(1000).slice(998));
    await expect(source.read(999, 2)).rejects.toThrow(RangeError);
    expect(await (await again.open('..', '..')).read(0, 3)).toEqual(bytes(3, 9));
    expect((await again.list()).map(({ group, name, bytes: size, complete }) => [group, name, size, complete])).toEqual([
      ['..', '..', 3, true],
      ['org/model@main', 'sub/dir/weights (1).gguf', 1000, true],
    ]);
  });

  it('are not there until they are closed', async () => {
    const writer = await store.write('g', 'f', { total: 10, tag: 'v1' });
    await writer.write(bytes(4));
    await expect(store.open('g', 'f')).rejects.toThrow(/f is here only in part/);
    await writer.write(bytes(6));
    await writer.close();
    expect(await store.partial('g', 'f')).toBeNull();
    expect((await store.open('g', 'f')).size).toBe(10);
  });

  it('are continued where they stopped', async () => {
    const whole = bytes(10);
    const first = await store.write('g', 'f', { total: 10, tag: 'v1' });
    expect(first.position).toBe(0);
    await first.write(whole.subarray(0, 7));
    await first.abort('stopped');
    expect(await new Files(medium).partial('g', 'f')).toEqual({ group: 'g', name: 'f', bytes: 7, total: 10, tag: 'v1', complete: false });
    const second = await new Files(medium).write('g', 'f', { total: 10, tag: 'v1' });
    expect(second.position).toBe(7);
    await second.write(whole.subarray(7));
    await second.close();
    expect(await (await store.open('g', 'f')).read(0, 10)).toEqual(whole);
  });

  it.each([
    ['another tag', { total: 10, tag: 'v2' }],
    ['another length', { total: 12, tag: 'v1' }],
    ['no tag', { total: 10 }],
  ])('start again under %s', async (_, options) => {
    const first = await store.write('g', 'f', { total: 10, tag: 'v1' });
    await first.write(bytes(7));
    await first.abort('stopped');
    const second = await store.write('g', 'f', options);
    expect(second.position).toBe(0);
    await second.write(bytes(options.total, 5));
    await second.close();
    expect(await (await store.open('g', 'f')).read(0, options.total)).toEqual(bytes(options.total, 5));
  });

  it('without a tag always start again', async () => {
    const first = await store.write('g', 'f', { total: 10 });
    await first.write(bytes(7));
    await first.abort('stopped');
    const second = await store.write('g', 'f', { total: 10 });
    expect(second.position).toBe(0);
    await second.abort('stopped');
  });

  it('that end early or run over are refused', async () => {
    const short = await store.write('g', 'short', { total: 10 });
    await short.write(bytes(9));
    await expect(short.close()).rejects.toThrow('short ends after 9 of 10 bytes');
    await expect(store.open('g', 'short')).rejects.toThrow(StorageError);
    const long = await store.write('g', 'long', { total: 10 });
    await long.write(bytes(10));
    await expect(long.write(bytes(1))).rejects.toThrow('long has more than the 10 bytes');
    await long.abort('too long');
  });

  it('tell their progress while they are put, and stop when asked', async () => {
    const done: number[] = [];
    const stop = new AbortController();
    const size = 9 * 2 ** 20;
    const source = new MemorySource(new Uint8Array(size), 'big');
    const putting = store.put('g', 'f', source, {
      tag: 'v',
      signal: stop.signal,
      onProgress: (progress) => {
        done.push(progress.done);
        if (done.length === 2) stop.abort();
      },
    });
    await expect(putting).rejects.toThrow(/was stopped at 4\.2 MB of 9\.4 MB/);
    expect(done).toEqual([0, 4 * 2 ** 20]);
    done.length = 0;
    await store.put('g', 'f', source, { tag: 'v', onProgress: (progress) => done.push(progress.done) });
    expect(done).toEqual([4 * 2 ** 20, 8 * 2 ** 20, size]);
  });

  it('are deleted one by one or by the group', async () => {
    for (const name of ['a', 'b']) await store.put('g', name, new MemorySource(bytes(2)));
    await store.put('gg', 'c', new MemorySource(bytes(2)));
    await store.delete('g', 'a');
    await store.delete('g', 'never there');
    expect((await store.list()).map(({ name }) => name)).toEqual(['b', 'c']);
    await store.delete('g');
    await store.delete('g');
    expect((await store.list()).map(({ name }) => name)).toEqual(['c']);
    expect(await medium.names(['g'])).toEqual([]);
  });

  it('that lost bytes behind our back are forgotten with a sentence', async () => {
    await store.put('g', 'f', new MemorySource(bytes(100)));
    await (await medium.append(['g', 'data', 'f'], 40)).close();
    await expect(store.open('g', 'f')).rejects.toThrow(/f was kept with 100 B, of which 40 B are left/);
    await expect(store.open('g', 'f')).rejects.toThrow(/f is not kept here/);
  });

  it('with a torn note count as not there', async () => {
    await store.put('g', 'f', new MemorySource(bytes(100)));
    await (await medium.append(['g', 'note', 'f'], 5)).close();
    expect(await store.find('g', 'f')).toBeNull();
    await store.put('g', 'f', new MemorySource(bytes(50)));
    expect((await store.open('g', 'f')).size).toBe(50);
  });
});

/** Refuses bytes past `room`, as a browser's quota does. */
class LimitedFiles extends MemoryFiles {
  constructor(
    private room: number,
    private readonly tells: boolean,
  ) {
    super();
  }
  override async append(path: readonly string[], at: number): Promise<MediumWriter> {
    const writer = await super.append(path, at);
    return {
      close: () => writer.close(),
      write: async (data) => {
        if (data.length > this.room) throw new DOMException('full', 'QuotaExceededError');
        this.room -= data.length;
        await writer.write(data);
      },
    };
  }
  override free(): Promise<number | null> {
    return Promise.resolve(this.tells ? this.room : null);
  }
}

describe('a full disk', () => {
  it('is foreseen where the browser tells what is free', async () => {
    const store = new Files(new LimitedFiles(40_000_000, true));
    const source = { name: 'model.gguf', size: 106_000_000, read: () => Promise.reject(new Error('must not be read')) };
    await expect(store.put('m', 'model.gguf', source)).rejects.toThrow(/^model\.gguf needs 106 MB, 40 MB are free\./);
    expect(await store.list()).toEqual([]);
  });

  it('that shows only while writing keeps what arrived', async () => {
    const store = new Files(new LimitedFiles(1000, false));
    const writer = await store.write('m', 'f', { total: 2000, tag: 'v' });
    await writer.write(bytes(800));
    await expect(writer.write(bytes(800))).rejects.toThrow(/f needs 1\.2 kB.*What arrived is kept/);
    await writer.abort('full');
    expect((await store.partial('m', 'f'))?.bytes).toBe(800);
  });
});
