import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StorageError } from '../../src/core/errors';
import { FileSink, FileSource, replaceFile } from '../../src/storage/node-file';
import { BlobSink, StreamSink } from '../../src/storage/sinks';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hone-sinks-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('a file source', () => {
  it('reads exactly the bytes asked for and refuses to read past the end', async () => {
    const path = join(folder, 'a.bin');
    await writeFile(path, Uint8Array.from({ length: 1000 }, (_, i) => i % 251));
    const source = await FileSource.open(path);
    expect(source.name).toBe('a.bin');
    expect(source.size).toBe(1000);
    expect([...(await source.read(249, 4))]).toEqual([249, 250, 0, 1]);
    expect((await source.read(1000, 0)).length).toBe(0);
    await expect(source.read(999, 2)).rejects.toThrow('a.bin ends at byte 1000');
    await source.close();
  });

  it('says when the file shrank after it was opened', async () => {
    const path = join(folder, 'cut.bin');
    await writeFile(path, new Uint8Array(1000));
    const source = await FileSource.open(path);
    await writeFile(path, new Uint8Array(10));
    await expect(source.read(0, 1000)).rejects.toThrow(StorageError);
    await source.close();
  });

  it('names an absent file and a folder', async () => {
    await expect(FileSource.open(join(folder, 'none'))).rejects.toThrow(/none does not exist/);
    await expect(FileSource.open(folder)).rejects.toThrow(/is a folder/);
  });
});

describe('a file sink', () => {
  it('shows nothing under the final name before it is closed', async () => {
    const path = join(folder, 'out.gguf');
    await writeFile(path, 'old');
    const sink = await FileSink.create(path);
    await sink.write(new Uint8Array([1, 2]));
    expect(await readFile(path, 'utf8')).toBe('old');
    await sink.write(new Uint8Array([3]));
    await sink.close();
    expect([...(await readFile(path))]).toEqual([1, 2, 3]);
    expect(await readdir(folder)).toEqual(['out.gguf']);
  });

  it('leaves the old file and no litter when aborted', async () => {
    const path = join(folder, 'out.gguf');
    await writeFile(path, 'old');
    const sink = await FileSink.create(path);
    await sink.write(new Uint8Array(100));
    await sink.abort();
    expect(await readFile(path, 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['out.gguf']);
  });

  it('says which file could not be written', async () => {
    await expect(FileSink.create(join(folder, 'no', 'out.gguf'))).rejects.toThrow(/out\.gguf could not be written \(ENOENT\)/);
  });

  it('replaces a small file whole', async () => {
    const path = join(folder, 'run.json');
    await replaceFile(path, new TextEncoder().encode('{"a":1}'));
    await replaceFile(path, new TextEncoder().encode('{}'));
    expect(await readFile(path, 'utf8')).toBe('{}');
  });
});

/** A stream that keeps what it was given, late, as a slow disk would. */
function slowStream() {
  const received: number[] = [];
  const state = { closed: false, aborted: undefined as unknown, received };
  const stream = new WritableStream<Uint8Array>({
    async write(chunk) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      received.push(...chunk);
    },
    close: () => void (state.closed = true),
    abort: (reason) => void (state.aborted = reason),
  });
  return { stream, state };
}

describe('a stream sink', () => {
  it('writes in order though the caller reuses its buffer at once', async () => {
    const { stream, state } = slowStream();
    const sink = new StreamSink(stream);
    const buffer = new Uint8Array(2);
    const writes: Promise<void>[] = [];
    for (let i = 0; i < 4; i++) {
      buffer.fill(i);
      writes.push(sink.write(buffer));
    }
    await Promise.all(writes);
    await sink.close();
    expect(state.received).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect(state.closed).toBe(true);
  });

  it('hands an abort on to the stream', async () => {
    const { stream, state } = slowStream();
    const sink = new StreamSink(stream);
    await sink.write(new Uint8Array(3));
    await sink.abort('stopped');
    expect(state.aborted).toBe('stopped');
    expect(state.closed).toBe(false);
  });

  it('turns a full disk into a sentence with the bytes that were needed', async () => {
    const sink = new StreamSink(
      new WritableStream({
        write() {
          throw new DOMException('no room', 'QuotaExceededError');
        },
      }),
    );
    await expect(sink.write(new Uint8Array(2_000_000))).rejects.toThrow(/^The file needs 2\.0 MB, .*Nothing was saved\./);
  });
});

describe('a Blob sink', () => {
  it('gives all bytes in order, of several parts, once closed', async () => {
    const sink = new BlobSink('application/zip');
    const chunk = new Uint8Array(3 * 1024 * 1024);
    for (let i = 0; i < 7; i++) {
      chunk.fill(i + 1);
      await sink.write(chunk);
    }
    expect(sink.blob()).toBeNull();
    await sink.close();
    const blob = sink.blob()!;
    expect(blob.type).toBe('application/zip');
    expect(blob.size).toBe(7 * chunk.length);
    const bytes = new Uint8Array(await blob.arrayBuffer());
    for (let i = 0; i < 7; i++) {
      expect(bytes[i * chunk.length]).toBe(i + 1);
      expect(bytes[(i + 1) * chunk.length - 1]).toBe(i + 1);
    }
  });

  it('gives nothing when aborted', async () => {
    const sink = new BlobSink();
    await sink.write(new Uint8Array(10));
    await sink.abort();
    expect(sink.blob()).toBeNull();
  });
});
