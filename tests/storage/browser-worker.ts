/** Hone's stores as a worker (or a page) has them, for the test that drives a real browser. */
import { expose } from 'comlink';
import { MemorySource } from '../../src/core/bytes';
import { Random } from '../../src/core/random';
import { fetchAsset } from '../../src/storage/assets';
import { BrowserStorage } from '../../src/storage/browser';
import type { Checkpoint } from '../../src/storage/checkpoints';
import { Connection } from '../../src/storage/hub';
import { downloadModel } from '../../src/storage/hub-files';
import { isLocked, tryLock, waitForLock } from '../../src/storage/lock';

const storage = new BrowserStorage();
let unfinished: Awaited<ReturnType<typeof storage.files.write>> | null = null;

/** Every byte follows from its place and the seed. */
const pattern = (length: number, seed: number, from = 0) => Uint8Array.from({ length }, (_, i) => ((i + from) * 31 + seed) & 255);

function checkpoint(step: number, floats: number): Checkpoint {
  return {
    version: 1,
    step,
    recipe: { step },
    arrays: { params: new Float32Array(floats).fill(step), exp_avg: new Float32Array(50).fill(-step) },
    optimizerStep: step,
    rng: [step],
    cursor: { epoch: 0, index: step },
    metricsLength: step,
    best: null,
    seconds: step,
  };
}

const record = (id: string) => ({
  id, name: id, status: 'running' as const, recipe: {}, modelId: '', modelName: '', datasetId: '', datasetName: '', step: 0, totalSteps: 1,
  savedStep: 0, bestStep: null, lastLoss: null, evalLoss: null, drift: null, createdAt: 1, updatedAt: 1, message: null,
});

export const api = {
  async put(group: string, name: string, length: number, seed: number) {
    await storage.files.put(group, name, new MemorySource(pattern(length, seed)));
  },
  /** Starts a file, or goes on with it, and leaves it open after `length` more bytes; gives where it began. */
  async begin(group: string, name: string, total: number, length: number, seed: number) {
    unfinished = await storage.files.write(group, name, { total, tag: 'v1' });
    const { position } = unfinished;
    for (let at = position; at < position + length; at += 1000) await unfinished.write(pattern(Math.min(1000, position + length - at), seed, at));
    return position;
  },
  async finish() {
    await unfinished!.close();
  },
  async leave() {
    await unfinished!.abort('left');
  },
  partial: async (group: string, name: string) => (await storage.files.partial(group, name))?.bytes ?? null,
  /** True where the kept file has exactly the pattern's bytes. */
  async holds(group: string, name: string, length: number, seed: number) {
    const source = await storage.files.open(group, name);
    const bytes = await source.read(0, source.size);
    const tail = await source.read(length - 3, 3);
    const wanted = pattern(length, seed);
    return bytes.length === length && bytes.every((byte, i) => byte === wanted[i]) && tail.every((byte, i) => byte === wanted[length - 3 + i]);
  },
  list: async () => (await storage.files.list()).map(({ group, name, bytes, complete }) => [group, name, bytes, complete]),
  save: (run: string, step: number, floats: number) => storage.checkpoints(run).save(checkpoint(step, floats)),
  /** A checkpoint that does not compress: Chromium's database compresses values before it counts them. */
  saveNoise(run: string, step: number, length: number) {
    const random = new Random(step);
    const noise = new Float32Array(length / 4);
    const words = new Uint32Array(noise.buffer);
    for (let i = 0; i < words.length; i++) words[i] = random.u32();
    return storage.checkpoints(run).save({ ...checkpoint(step, 1), arrays: { noise } });
  },
  /** The last checkpoint's step, and whether every value belongs to it. */
  async last(run: string) {
    const loaded = await storage.checkpoints(run).load('last');
    if (!loaded) return null;
    const { step, arrays } = loaded.checkpoint;
    const whole = arrays.params!.every((value) => value === step) && arrays.exp_avg!.every((value) => value === -step);
    return { step, whole, damaged: loaded.damaged, steps: (await storage.checkpoints(run).list()).map((info) => info.step) };
  },
  async saveForEver(run: string, floats: number) {
    for (let step = ((await storage.checkpoints(run).load('last'))?.checkpoint.step ?? 0) + 1; ; step++) {
      await storage.checkpoints(run).save(checkpoint(step, floats));
      self.postMessage({ saved: step });
    }
  },
  async addRun(id: string, points: number) {
    await storage.runs.put(record(id));
    for (let step = 1; step <= points; step++) {
      const point = { step, loss: step, grad_norm: 1, learning_rate: 1, tokens: 1, tokens_per_second: 1, seconds: 1, epoch: 0 };
      await storage.runs.append(id, 'metrics', [point]);
    }
  },
  async cutRun(id: string, step: number) {
    await storage.runs.truncate(id, step);
    return (await storage.runs.history(id)).metrics.map((point) => point.step);
  },
  /** Downloads from the hub at `endpoint`; gives what the log has. */
  async download(id: string, file: string, endpoint: string, hosts: string[]) {
    const connection = new Connection({ hosts, retryDelay: 1 });
    const { group } = await downloadModel(id, { connection, store: storage.files, file, endpoint });
    const source = await storage.files.open(group, file);
    return { bytes: await source.read(0, source.size), log: connection.requests().map(({ host, bytes }) => [host, bytes] as const) };
  },
  async asset(url: string) {
    const source = await fetchAsset(new Connection({ hosts: [new URL(url).host] }), url);
    return source.size;
  },
  estimate: () => storage.estimate(),
  deleteEverything: () => storage.deleteEverything(),
  /** Takes the lock and keeps it as long as this thread lives. */
  tryLock: async () => (await tryLock()) !== null,
  waitForLock: async () => void (await waitForLock(new AbortController().signal)),
  isLocked: () => isLocked(),
};

if (typeof document === 'undefined') expose(api);
else Object.assign(globalThis, { page: api });
