import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HubError } from '../../src/core/errors';
import { fetchAsset } from '../../src/storage/assets';
import { Connection } from '../../src/storage/hub';
import { TestHub } from './server';

let hub: TestHub;
beforeEach(async () => {
  hub = await TestHub.start();
});
afterEach(() => hub.stop());

const connect = () => new Connection({ hosts: [hub.cdnHost], retries: 2, retryDelay: 1 });
const url = (name: string) => `http://${hub.cdnHost}/${name}`;

describe("a file of the page's own", () => {
  it('comes whole, under its name, with progress', async () => {
    const bytes = Uint8Array.from({ length: 150_000 }, (_, i) => i & 255);
    hub.files.set('demo.gguf', bytes);
    const done: number[] = [];
    const connection = connect();
    const source = await fetchAsset(connection, url('demo.gguf?v=2'), {
      onProgress: (progress) => {
        expect(progress.total).toBe(150_000);
        done.push(progress.done);
      },
    });
    expect([source.name, source.size]).toEqual(['demo.gguf', 150_000]);
    expect(Buffer.compare(await source.read(0, source.size), bytes)).toBe(0);
    expect(done.at(-1)).toBe(150_000);
    expect(connection.requests()[0]).toMatchObject({ bytes: 150_000, reason: 'file demo.gguf of this page' });
  });

  it('is asked for again from the start where the connection breaks', async () => {
    const bytes = new Uint8Array(50_000).fill(7);
    hub.files.set('demo.gguf', bytes);
    hub.faults.push({ kind: 'cut', after: 20_000 });
    expect((await fetchAsset(connect(), url('demo.gguf'))).size).toBe(50_000);
    expect(hub.seen.map(({ headers }) => headers.range)).toEqual([undefined, undefined]);
  });

  it('that a server answers with its start page is missing', async () => {
    hub.faults.push({ kind: 'html' });
    await expect(fetchAsset(connect(), url('demo.gguf'))).rejects.toThrow(/demo\.gguf is missing from this page/);
  });

  it('is never loaded from elsewhere', async () => {
    await expect(fetchAsset(connect(), `http://${hub.hubHost}/demo.gguf`)).rejects.toThrow(HubError);
    expect(hub.seen).toEqual([]);
  });
});
