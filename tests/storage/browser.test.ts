import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { chromium, type Browser, type BrowserContext, type Page } from '@playwright/test';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { findChromium } from '../../scripts/chromium.mjs';
import { TestHub } from '../hub/server';
import type { api } from './browser-worker';

type Api = typeof api;

const executablePath = await findChromium();

const ARGUMENTS = ['--no-sandbox', '--disable-quic', '--no-first-run'];

/** The page: the stores on its own thread as `page`, and in a worker as `worker`. */
const HTML = `<!doctype html><script type="module">
  import { wrap } from './comlink.mjs';
  import './stores.mjs';
  const thread = new Worker('./stores.mjs', { type: 'module' });
  globalThis.thread = thread;
  globalThis.worker = wrap(thread);
  globalThis.ready = true;
</script>`;

describe.skipIf(executablePath === null)('stores in Chromium (skipped where no Chromium is found)', () => {
  let folder: string;
  let server: Server;
  let browser: Browser;
  let context: BrowserContext;
  let address: string;
  /** Of the last request for the page's own asset. */
  let assetHeaders: IncomingHttpHeaders = {};

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hone-browser-'));
    await bundle('stores', fileURLToPath(new URL('./browser-worker.ts', import.meta.url)));
    await bundle('comlink', fileURLToPath(new URL('../../node_modules/comlink/dist/esm/comlink.mjs', import.meta.url)));
    server = createServer((request, response) => {
      const name = request.url!.slice(1);
      if (name === 'asset.bin') {
        assetHeaders = request.headers;
        return void response.end('asset');
      }
      response.setHeader('Set-Cookie', 'secret=1; Path=/');
      if (name === '') return void response.setHeader('Content-Type', 'text/html').end(HTML);
      readFile(join(folder, name)).then(
        (bytes) => response.setHeader('Content-Type', 'text/javascript').end(bytes),
        () => response.writeHead(404).end(),
      );
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    browser = await chromium.launch({ executablePath: executablePath!, args: ARGUMENTS });
  });
  afterAll(async () => {
    await browser.close();
    server.close();
    await rm(folder, { recursive: true });
  });
  // A fresh profile each: nothing is kept between tests.
  beforeEach(async () => {
    context = await browser.newContext();
    return () => context.close();
  });

  function bundle(name: string, entry: string) {
    return build({
      configFile: false,
      logLevel: 'error',
      build: { lib: { entry, formats: ['es'], fileName: () => `${name}.mjs` }, outDir: folder, emptyOutDir: false, minify: false },
    });
  }

  async function open(within = context): Promise<Page> {
    const page = await within.newPage();
    await page.goto(address);
    await page.waitForFunction(() => 'ready' in globalThis);
    return page;
  }

  /** Calls the stores in a page's worker, or on the page's own thread. */
  function call<K extends keyof Api>(page: Page, name: K, args: Parameters<Api[K]>, where: 'worker' | 'page' = 'worker') {
    return page.evaluate(
      ([threadName, method, values]) => {
        const threads = globalThis as unknown as Record<string, Record<string, (...all: unknown[]) => unknown>>;
        return threads[threadName]![method]!(...values) as never;
      },
      [where, name, args] as const,
    ) as Promise<Awaited<ReturnType<Api[K]>>>;
  }

  it.each(['worker', 'page'] as const)('keep files put from a %s, for every thread and after a reload', async (where) => {
    const first = await open();
    await call(first, 'put', ['org/model@main', 'weights (1).gguf', 5_000_000, 7], where);
    await call(first, 'put', ['org/model@main', 'weights (1).gguf', 4_500_001, 8], where);
    await first.close();
    const second = await open();
    expect(await call(second, 'list', [])).toEqual([['org/model@main', 'weights (1).gguf', 4_500_001, true]]);
    for (const thread of ['worker', 'page'] as const) {
      expect(await call(second, 'holds', ['org/model@main', 'weights (1).gguf', 4_500_001, 8], thread)).toBe(true);
    }
  });

  it('keep what a worker had written when its tab was killed, and go on from there', async () => {
    const first = await open();
    expect(await call(first, 'begin', ['g', 'f', 10_000, 7000, 3])).toBe(0);
    // No chance to clean up: the tab's process is told to crash.
    const crashed = first.waitForEvent('crash');
    first.goto('chrome://crash').catch(() => undefined);
    await crashed;
    const second = await open();
    expect(await call(second, 'partial', ['g', 'f'])).toBe(7000);
    await expect(call(second, 'holds', ['g', 'f', 10_000, 3])).rejects.toThrow(/f is here only in part/);
    expect(await call(second, 'begin', ['g', 'f', 10_000, 3000, 3])).toBe(7000);
    await call(second, 'finish', []);
    expect(await call(second, 'holds', ['g', 'f', 10_000, 3])).toBe(true);
  });

  it('go on with a file that was left on the page thread', async () => {
    const page = await open();
    await call(page, 'begin', ['g', 'f', 10_000, 4000, 3], 'page');
    await call(page, 'leave', [], 'page');
    expect(await call(page, 'begin', ['g', 'f', 10_000, 6000, 3], 'page')).toBe(4000);
    await call(page, 'finish', [], 'page');
    expect(await call(page, 'holds', ['g', 'f', 10_000, 3], 'page')).toBe(true);
  });

  it('say so when another tab is writing the same file', async () => {
    const [first, second] = [await open(), await open()];
    await call(first, 'begin', ['g', 'f', 10_000, 1000, 3]);
    await expect(call(second, 'begin', ['g', 'f', 10_000, 1000, 3])).rejects.toThrow(/f is being written in another tab/);
  });

  it('hold whole checkpoints however often the tab is killed while it saves', async () => {
    let reported = 0;
    for (let round = 0; round < 5; round++) {
      const page = await open();
      await page.evaluate(() => {
        const threads = globalThis as unknown as { thread: Worker; worker: Api; steps: number[] };
        threads.steps = [];
        threads.thread.addEventListener('message', ({ data }: MessageEvent<{ saved?: number }>) => {
          if (data.saved !== undefined) threads.steps.push(data.saved);
        });
        void threads.worker.saveForEver('run', 300_000);
      });
      await page.waitForFunction(() => (globalThis as unknown as { steps: number[] }).steps.length > 2);
      await page.waitForTimeout(round * 7);
      reported = await page.evaluate(() => (globalThis as unknown as { steps: number[] }).steps.at(-1)!);
      const crashed = page.waitForEvent('crash');
      page.goto('chrome://crash').catch(() => undefined);
      await crashed;
      const after = await open();
      const last = (await call(after, 'last', ['run']))!;
      expect(last.step).toBeGreaterThanOrEqual(reported);
      expect(last).toMatchObject({ whole: true, damaged: [] });
      await after.close();
    }
    expect(reported).toBeGreaterThan(10);
  });

  it('take a checkpoint of several parts, and keep two', async () => {
    const page = await open();
    // 40 MB each: three parts.
    for (const step of [1, 2, 3]) await call(page, 'save', ['run', step, 10_000_000]);
    await page.close();
    expect(await call(await open(), 'last', ['run'])).toEqual({ step: 3, whole: true, damaged: [], steps: [3, 2] });
  });

  it("cut a run's points in the browser's own database", async () => {
    const page = await open();
    await call(page, 'addRun', ['a', 120]);
    expect(await call(page, 'cutRun', ['a', 99])).toEqual(Array.from({ length: 99 }, (_, i) => i + 1));
  });

  it('refuse what the quota does not hold, in a sentence, and keep the older checkpoint', async () => {
    // A profile on disk: the file system of a private one is in memory and knows no quota.
    const profile = await chromium.launchPersistentContext(join(folder, 'profile'), { executablePath: executablePath!, args: ARGUMENTS });
    try {
      const page = await open(profile);
      const devtools = await profile.newCDPSession(page);
      await devtools.send('Storage.overrideQuotaForOrigin', { origin: address.slice(0, -1), quotaSize: 20_000_000 });
      await call(page, 'save', ['run', 1, 1_000_000]);
      // What is free is not asserted: Chromium tells every page the same quota, and refuses only when the true one is passed.
      await expect(call(page, 'saveNoise', ['run', 2, 40_000_000])).rejects.toThrow(/A checkpoint needs 40 MB, .*\. The one of step 1 is safe\./);
      await expect(call(page, 'put', ['g', 'model.gguf', 30_000_000, 1])).rejects.toThrow(/model\.gguf needs \d+ MB, .*\. What arrived is kept\./);
      expect(await call(page, 'last', ['run'])).toMatchObject({ step: 1, whole: true });
    } finally {
      await profile.close();
    }
  });

  it('are empty after everything was deleted, as the browser itself sees it', async () => {
    const page = await open();
    await call(page, 'put', ['g', 'f', 100_000, 1]);
    await call(page, 'begin', ['g', 'half', 10_000, 1000, 3]);
    await call(page, 'leave', []);
    await call(page, 'addRun', ['a', 3]);
    await call(page, 'save', ['a', 1, 1000]);
    expect(await call(page, 'deleteEverything', [])).toBe(100_000 + 1000 + 4 * 1050);
    const left = await page.evaluate(async () => {
      const names: string[] = [];
      for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
      for (const { name } of await indexedDB.databases()) {
        const database = await new Promise<IDBDatabase>((resolve, reject) => {
          const request = indexedDB.open(name!);
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => reject(request.error!);
        });
        const store = database.transaction('entries').objectStore('entries');
        const count = await new Promise<number>((resolve) => {
          const request = store.count();
          request.onsuccess = () => resolve(request.result);
        });
        if (count > 0) names.push(name!);
      }
      return names;
    });
    expect(left).toEqual([]);
    expect(await call(page, 'list', [])).toEqual([]);
  });

  it('download from the hub across origins: resumed by range, without preflight, cookie or referrer', async () => {
    const hub = await TestHub.start();
    try {
      const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) & 255);
      hub.addLfs('model.gguf', bytes);
      hub.faults.push({ kind: 'cut', after: 100_000 });
      const page = await open();
      const { bytes: got, log } = await page.evaluate(
        async ([endpoint, hosts]) => {
          const { worker } = globalThis as unknown as { worker: Api };
          const result = await worker.download('org/model', 'model.gguf', endpoint, hosts);
          return { ...result, bytes: [...result.bytes] };
        },
        [hub.endpoint, [hub.hubHost, hub.cdnHost]] as const as unknown as [string, string[]],
      );
      expect(Buffer.compare(Buffer.from(got), bytes)).toBe(0);
      expect(hub.fileRequests.map(({ method, headers }) => [method, headers.range])).toEqual([
        ['GET', undefined],
        ['GET', 'bytes=100000-'],
      ]);
      expect(log.slice(1)).toEqual([
        [hub.cdnHost, 100_000],
        [hub.cdnHost, 200_000],
      ]);
      expect(hub.seen.length).toBe(5);
      for (const { method, headers } of hub.seen) {
        expect(method).toBe('GET');
        for (const name of ['cookie', 'referer', 'authorization']) expect(headers).not.toHaveProperty(name);
      }
    } finally {
      await hub.stop();
    }
  });

  it("load the page's own files without its cookies", async () => {
    const page = await open();
    expect(await page.evaluate(() => document.cookie)).toBe('secret=1');
    expect(await call(page, 'asset', [`${address}asset.bin`])).toBe(5);
    expect(assetHeaders).toHaveProperty('host');
    for (const name of ['cookie', 'referer']) expect(assetHeaders).not.toHaveProperty(name);
  });

  it('let one tab train, and the next one once it is closed', async () => {
    const [first, second] = [await open(), await open()];
    expect(await call(first, 'isLocked', [])).toBe(false);
    expect(await call(first, 'tryLock', [])).toBe(true);
    expect(await call(second, 'tryLock', [])).toBe(false);
    expect(await call(second, 'isLocked', [])).toBe(true);
    const taken = call(second, 'waitForLock', []);
    await first.close();
    await taken;
    expect(await call(await open(), 'tryLock', [])).toBe(false);
  });
});
