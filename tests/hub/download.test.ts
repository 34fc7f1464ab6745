import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HubError, StorageError } from '../../src/core/errors';
import { Random } from '../../src/core/random';
import { Files } from '../../src/storage/files';
import { Connection, type ConnectionOptions } from '../../src/storage/hub';
import { downloadModel, hubGroup, listHubFiles, type DownloadOptions } from '../../src/storage/hub-files';
import { MemoryFiles } from '../../src/storage/memory-files';
import { TestHub } from './server';

const FILE = 'model-Q8_0.gguf';
const random = new Random(3);
const contents = (length: number) => Uint8Array.from({ length }, () => random.below(256));

let hub: TestHub;
let store: Files;
beforeEach(async () => {
  hub = await TestHub.start();
  store = new Files(new MemoryFiles());
});
afterEach(() => hub.stop());

/** A connection that retries at once, so that tests do not wait. */
const connect = (options: ConnectionOptions = {}) =>
  new Connection({ hosts: [hub.hubHost, hub.cdnHost], retries: 3, retryDelay: 1, stallAfter: 10_000, ...options });

const download = (options: Partial<DownloadOptions> = {}) =>
  downloadModel(hub.id, { connection: connect(), store, endpoint: hub.endpoint, file: FILE, ...options });

async function kept(path = FILE, group = hubGroup(hub.id, 'main', FILE)): Promise<Uint8Array> {
  const source = await store.open(group, path);
  return source.read(0, source.size);
}

/** Ranges the file server was asked for, '' for none. */
const ranges = () => hub.fileRequests.map(({ headers }) => headers.range ?? '');

describe('a list of files', () => {
  it('has every file of every page with size and hash, without folders', async () => {
    hub.addLfs('a.gguf', contents(5));
    for (let i = 0; i < 6; i++) hub.files.set(`dir/file ${i}.json`, contents(i));
    hub.pageLength = 3;
    const list = await listHubFiles(connect(), { id: hub.id, endpoint: hub.endpoint });
    expect(list.map(({ path, bytes }) => [path, bytes])).toEqual([['a.gguf', 5], ...[0, 1, 2, 3, 4, 5].map((i) => [`dir/file ${i}.json`, i])]);
    expect(list[0]!.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(list[1]!.sha256).toBeNull();
    expect(hub.seen.length).toBe(3);
  });

  it.each(['no spaces', '../../etc', 'a/b/c', 'org/..', '', 'https://huggingface.co/org/model'])('refuses %j as an id without asking anyone', async (id) => {
    await expect(listHubFiles(connect(), { id, endpoint: hub.endpoint })).rejects.toThrow(/is not a hub id/);
    expect(hub.seen).toEqual([]);
  });

  it('names the branch or pull request in the URL as one part', async () => {
    await listHubFiles(connect(), { id: hub.id, endpoint: hub.endpoint, revision: 'refs/pr/1' });
    expect(hub.seen[0]!.url).toBe('/api/models/org/model/tree/refs%2Fpr%2F1?recursive=true');
  });
});

describe('a download of one GGUF', () => {
  it('keeps its bytes and nothing else', async () => {
    const bytes = contents(300_000);
    hub.addLfs(FILE, bytes);
    hub.files.set('config.json', contents(10));
    const model = await download();
    expect(model).toEqual({ group: hubGroup(hub.id, 'main', FILE), name: hub.id, files: [FILE] });
    expect(await kept()).toEqual(bytes);
    expect((await store.list()).map(({ name }) => name)).toEqual([FILE]);
  });

  it('reports bytes up to the whole', async () => {
    hub.addLfs(FILE, contents(300_000));
    const seen: number[] = [];
    await download({
      onProgress: (progress) => {
        expect(progress).toMatchObject({ total: 300_000, unit: 'bytes' });
        seen.push(progress.done);
      },
    });
    expect(seen.at(-1)).toBe(300_000);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });

  it('sends no cookies, no referrer, no body, and only GET', async () => {
    hub.addLfs(FILE, contents(100));
    hub.faults.push({ kind: 'cut', after: 50 });
    await download();
    expect(hub.seen.length).toBe(5);
    for (const { method, headers } of hub.seen) {
      expect(method).toBe('GET');
      for (const name of ['cookie', 'referer', 'authorization', 'content-length', 'transfer-encoding']) expect(headers).not.toHaveProperty(name);
    }
  });

  it('asks nothing about a file that is kept whole, and again for another version', async () => {
    hub.addLfs(FILE, contents(100));
    await download();
    await download();
    expect(hub.fileRequests.length).toBe(1);
    const second = contents(100);
    hub.addLfs(FILE, second);
    await download();
    expect(hub.fileRequests.length).toBe(2);
    expect(await kept()).toEqual(second);
  });

  it('can be empty', async () => {
    hub.addLfs(FILE, new Uint8Array());
    await download();
    expect((await kept()).length).toBe(0);
  });
});

describe('a broken download', () => {
  it('goes on where the connection broke, as often as there is progress', async () => {
    const bytes = contents(400_000);
    hub.addLfs(FILE, bytes);
    // Six breaks with three retries allowed: each break made progress, so the count starts again.
    for (let i = 0; i < 6; i++) hub.faults.push({ kind: 'cut', after: 50_000 });
    await download();
    expect(await kept()).toEqual(bytes);
    expect(ranges().slice(1)).toEqual([1, 2, 3, 4, 5, 6].map((i) => `bytes=${i * 50_000}-`));
  });

  it('gives up after so many failures in a row, keeps what arrived, and goes on another day', async () => {
    const bytes = contents(200_000);
    hub.addLfs(FILE, bytes);
    hub.faults.push({ kind: 'cut', after: 70_000 }, ...Array.from({ length: 4 }, () => ({ kind: 'cut', after: 0 }) as const));
    await expect(download()).rejects.toThrow(/could not be reached.*what arrived is kept/);
    expect((await store.partial(hubGroup(hub.id, 'main', FILE), FILE))?.bytes).toBe(70_000);
    await expect(kept()).rejects.toThrow(StorageError);
    hub.faults.length = 0;
    const before = hub.fileRequests.length;
    await download();
    expect(ranges().slice(before)).toEqual(['bytes=70000-']);
    expect(await kept()).toEqual(bytes);
  });

  it('starts again where the file changed since yesterday', async () => {
    hub.addLfs(FILE, contents(100_000));
    hub.faults.push({ kind: 'cut', after: 60_000 }, ...Array.from({ length: 4 }, () => ({ kind: 'cut', after: 0 }) as const));
    await expect(download()).rejects.toThrow(HubError);
    const changed = contents(100_000);
    hub.addLfs(FILE, changed);
    hub.faults.length = 0;
    const before = hub.fileRequests.length;
    await download();
    expect(ranges().slice(before)).toEqual(['']);
    expect(await kept()).toEqual(changed);
  });

  it('starts again where the ETag changed between two requests', async () => {
    hub.addLfs(FILE, contents(100_000));
    const changed = contents(100_000);
    hub.faults.push({ kind: 'cut', after: 60_000 });
    hub.onSending = () => hub.addLfs(FILE, changed);
    await download();
    expect(ranges()).toEqual(['', 'bytes=60000-', '']);
    expect(await kept()).toEqual(changed);
  });

  it.each([50_000, 80_000, 130_000])('starts again where the file has %i bytes of a sudden, also without ETags', async (length) => {
    hub.terse = true;
    hub.addLfs(FILE, contents(100_000));
    const changed = contents(length);
    hub.faults.push({ kind: 'cut', after: 60_000 });
    hub.onSending = () => hub.addLfs(FILE, changed);
    await download();
    expect(ranges()).toEqual(['', 'bytes=60000-', '']);
    expect(await kept()).toEqual(changed);
  });

  it('begins anew where the server knows no ranges', async () => {
    const bytes = contents(100_000);
    hub.addLfs(FILE, bytes);
    hub.faults.push({ kind: 'cut', after: 60_000 }, { kind: 'no ranges' });
    await download();
    expect(ranges()).toEqual(['', 'bytes=60000-']);
    expect(await kept()).toEqual(bytes);
  });

  it('is noticed where the server goes quiet', async () => {
    const bytes = contents(100_000);
    hub.addLfs(FILE, bytes);
    hub.faults.push({ kind: 'hang', after: 30_000 });
    await download({ connection: connect({ stallAfter: 150 }) });
    expect(ranges()).toEqual(['', 'bytes=30000-']);
    expect(await kept()).toEqual(bytes);
  });

  it('of a body that ends early without a word is taken up again', async () => {
    const bytes = contents(100_000);
    hub.addLfs(FILE, bytes);
    hub.faults.push({ kind: 'short', by: 10_000 });
    await download();
    expect(ranges()).toEqual(['', 'bytes=90000-']);
    expect(await kept()).toEqual(bytes);
  });

  it('stops when asked, keeps what arrived, and goes on from there', async () => {
    const bytes = contents(100_000);
    hub.addLfs(FILE, bytes);
    hub.faults.push({ kind: 'hang', after: 40_000 });
    const stop = new AbortController();
    const running = download({ signal: stop.signal });
    hub.onSending = () => setTimeout(() => stop.abort(), 50);
    await expect(running).rejects.toThrow(`The download of ${FILE} stopped at 40 kB of 100 kB. What arrived is kept`);
    await expect(running).rejects.toThrow(HubError);
    await download();
    expect(ranges()).toEqual(['', 'bytes=40000-']);
    expect(await kept()).toEqual(bytes);
  });

  it('stops when asked while it waits for a retry', async () => {
    hub.addLfs(FILE, contents(100));
    hub.faults.push({ kind: 'status', status: 503 });
    const stop = new AbortController();
    const running = download({ signal: stop.signal, connection: connect({ retryDelay: 3_600_000 }) });
    setTimeout(() => stop.abort(), 100);
    await expect(running).rejects.toThrow(/stopped/);
  });
});

describe('a server in trouble', () => {
  it.each([500, 502, 503, 429])('is asked again after %i', async (status) => {
    const bytes = contents(1000);
    hub.addLfs(FILE, bytes);
    hub.faults.push({ kind: 'status', status }, { kind: 'status', status });
    await download();
    expect(hub.fileRequests.length).toBe(3);
    expect(await kept()).toEqual(bytes);
  });

  it('is given the time it asks for', async () => {
    hub.addLfs(FILE, contents(1000));
    hub.faults.push({ kind: 'status', status: 429, retryAfter: '1' });
    const start = performance.now();
    await download();
    // The retry delay is 1 ms: only Retry-After explains a second. Timers may fire a millisecond early.
    expect(performance.now() - start).toBeGreaterThan(990);
  });

  it('that asks for more than two minutes is told about at once', async () => {
    hub.addLfs(FILE, contents(1000));
    hub.faults.push({ kind: 'status', status: 429, retryAfter: new Date(Date.now() + 600_000).toUTCString() });
    await expect(download()).rejects.toThrow(/has had too many requests from here.*Try again in (599|600) seconds/);
    expect(hub.fileRequests.length).toBe(1);
  });

  it('is named after the last retry', async () => {
    hub.addLfs(FILE, contents(1000));
    hub.faults.push(...Array.from({ length: 9 }, () => ({ kind: 'status', status: 503 }) as const));
    await expect(download()).rejects.toThrow(new HubError(`${hub.cdnHost} answered 503 when asked for the file ${FILE} of org/model; what arrived is kept. Try again later.`));
    expect(hub.fileRequests.length).toBe(4);
  });

  it('that is not there at all is named with what to do', async () => {
    const gone = await TestHub.start();
    const { endpoint, hubHost } = gone;
    await gone.stop();
    const failure = await downloadModel('org/model', { connection: connect({ hosts: [hubHost] }), store, endpoint }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(HubError);
    expect(String(failure)).toMatch(/could not be reached \(.*ECONNREFUSED.*Check the connection/);
  });
});

describe('a refusal', () => {
  it.each([
    [401, 'GatedRepo'],
    [403, 'GatedRepo'],
    [403, null],
  ])('of a gated model says where to accept its licence (%i %s)', async (status, code) => {
    hub.gate = { status, code };
    await expect(download()).rejects.toThrow(/Accept the licence on huggingface\.co, then open the file here\./);
    expect(hub.seen.length).toBe(1);
  });

  it('of an unknown or private id says to check it', async () => {
    hub.gate = { status: 401, code: 'RepoNotFound' };
    await expect(download()).rejects.toThrow(/does not know the list of files of org\/model, or keeps it private; check the id/);
  });

  it('of a missing repository or file is one sentence without retries', async () => {
    await expect(downloadModel('org/other', { connection: connect(), store, endpoint: hub.endpoint })).rejects.toThrow(/has no list of files of org\/other/);
    expect(hub.seen.length).toBe(1);
    hub.addLfs('other.gguf', contents(4));
    await expect(download()).rejects.toThrow(`org/model has no file ${FILE}; it has other.gguf.`);
  });

  it('of any other kind is named by its status', async () => {
    hub.addLfs(FILE, contents(4));
    hub.faults.push({ kind: 'status', status: 418 });
    await expect(download()).rejects.toThrow(/answered 418/);
    expect(hub.fileRequests.length).toBe(1);
  });
});

describe('a wrong file', () => {
  it('with a wrong hash is deleted and named', async () => {
    hub.addLfs(FILE, contents(1000));
    hub.faults.push({ kind: 'garble' });
    await expect(download()).rejects.toThrow(/arrived damaged: its SHA-256 is .* It was deleted/);
    expect(await store.list()).toEqual([]);
    await download();
    expect(await kept()).toEqual(hub.files.get(FILE));
  });

  it('whose first half was damaged in an earlier session is found out', async () => {
    hub.addLfs(FILE, contents(1000));
    const [listed] = await listHubFiles(connect(), { id: hub.id, endpoint: hub.endpoint });
    const writer = await store.write(hubGroup(hub.id, 'main', FILE), FILE, { total: 1000, tag: listed!.tag });
    await writer.write(contents(400));
    await writer.abort('as if the page had closed');
    await expect(download()).rejects.toThrow(/arrived damaged/);
    expect(ranges()).toEqual(['bytes=400-']);
  });

  it('that is a web page is refused', async () => {
    hub.addLfs(FILE, contents(1000));
    hub.faults.push({ kind: 'html' });
    await expect(download()).rejects.toThrow(/A web page came instead of model-Q8_0\.gguf/);
  });

  it('that never has the listed length is given up', async () => {
    hub.addLfs(FILE, contents(1000));
    hub.served.set(FILE, contents(1100));
    await expect(download()).rejects.toThrow(/keeps arriving in another version than the hub lists \(1000 bytes\)/);
  });

  it('that leads to a host which is not on the list is not loaded', async () => {
    hub.addLfs(FILE, contents(1000));
    await expect(download({ connection: connect({ hosts: [hub.hubHost] }) })).rejects.toThrow(/is not a host that Hone loads from/);
    expect(await store.find(hubGroup(hub.id, 'main', FILE), FILE)).toMatchObject({ bytes: 0, complete: false });
  });

  it('is not asked for from an endpoint that is not on the list', async () => {
    await expect(download({ connection: new Connection() })).rejects.toThrow(/is not a host that Hone loads from/);
    expect(hub.seen).toEqual([]);
  });
});

describe('a download of a safetensors model', () => {
  const group = () => hubGroup(hub.id);
  const add = (...paths: string[]) => paths.forEach((path) => hub.addLfs(path, contents(100 + path.length)));
  const fetchModel = () => downloadModel(hub.id, { connection: connect(), store, endpoint: hub.endpoint });

  it('takes config, tokenizer and weights, and leaves the rest', async () => {
    add('config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors', 'README.md', 'pytorch_model.bin', 'onnx/model.onnx', 'sub/config.json');
    const { files } = await fetchModel();
    expect(files.sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']);
    for (const path of files) expect(await kept(path, group())).toEqual(hub.files.get(path));
    expect(hub.fileRequests.length).toBe(4);
  });

  it('takes the shards that the index names', async () => {
    add('config.json', 'tokenizer.json', 'a-00001-of-00002.safetensors', 'a-00002-of-00002.safetensors', 'other.safetensors');
    const map = { x: 'a-00002-of-00002.safetensors', y: 'a-00001-of-00002.safetensors', z: 'a-00001-of-00002.safetensors' };
    hub.files.set('model.safetensors.index.json', new TextEncoder().encode(JSON.stringify({ weight_map: map })));
    const progress: number[] = [];
    const { files } = await downloadModel(hub.id, {
      connection: connect(),
      store,
      endpoint: hub.endpoint,
      onProgress: ({ done, total }) => void progress.push(done, total),
    });
    expect([...files].sort()).toEqual([
      'a-00001-of-00002.safetensors',
      'a-00002-of-00002.safetensors',
      'config.json',
      'model.safetensors.index.json',
      'tokenizer.json',
    ]);
    const total = files.reduce((sum, path) => sum + hub.files.get(path)!.length, 0);
    expect(progress.slice(-2)).toEqual([total, total]);
    expect(hub.fileRequests.length).toBe(5);
  });

  it.each([
    ['{"weight_map": {"x": "../../secret"}}', /has no file \.\.\/\.\.\/secret/],
    ['{"weight_map": 5}', /has no weight_map/],
    ['<html>', /has no weight_map/],
  ])('refuses the index %s', async (index, message) => {
    add('config.json');
    hub.files.set('model.safetensors.index.json', new TextEncoder().encode(index));
    await expect(fetchModel()).rejects.toThrow(message);
  });

  it('without weights that Hone reads says what there is', async () => {
    add('config.json', 'pytorch_model.bin');
    await expect(fetchModel()).rejects.toThrow(/neither model\.safetensors nor a GGUF file, but config\.json, pytorch_model\.bin/);
    add('x-Q4_0.gguf', 'x-Q8_0.gguf');
    await expect(fetchModel()).rejects.toThrow(/choose one of x-Q4_0\.gguf, x-Q8_0\.gguf/);
  });

  it('without a config says so before anything is loaded', async () => {
    add('model.safetensors');
    await expect(fetchModel()).rejects.toThrow(/has no file config\.json/);
    expect(hub.fileRequests).toEqual([]);
  });
});

describe('the log of requests', () => {
  it('has each request with the host that sent the bytes, their number and the reason', async () => {
    hub.addLfs(FILE, contents(5000));
    hub.faults.push({ kind: 'cut', after: 2000 });
    const connection = connect();
    await download({ connection });
    const [tree, first, second] = connection.requests();
    expect(connection.requests().length).toBe(3);
    expect(tree).toMatchObject({ host: hub.hubHost, askedHost: hub.hubHost, reason: 'list of files of org/model' });
    expect(tree!.bytes).toBeGreaterThan(50);
    expect(first).toMatchObject({ host: hub.cdnHost, askedHost: hub.hubHost, bytes: 2000, reason: `file ${FILE} of org/model` });
    expect(second).toMatchObject({ host: hub.cdnHost, bytes: 3000 });
    expect(Math.abs(Date.now() - tree!.time)).toBeLessThan(60_000);
  });
});
