import 'fake-indexeddb/auto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StorageError } from '../../src/core/errors';
import {
  Checkpoints,
  MemoryParts,
  requireCheckpointRoom,
  type Checkpoint,
  type CheckpointStore,
  type PartStore,
} from '../../src/storage/checkpoints';
import { FolderParts } from '../../src/storage/folder';
import { IndexedDbParts } from '../../src/storage/indexeddb';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hone-checkpoints-'));
});
afterAll(() => rm(folder, { recursive: true }));

function checkpoint(step: number, best: Checkpoint['best'] = null, arrays?: Checkpoint['arrays']): Checkpoint {
  return {
    version: 1,
    step,
    recipe: { model: 'm.gguf', lora: { r: 5 }, training: { learning_rate: 2e-4 } },
    arrays: arrays ?? {
      params: Float32Array.from({ length: 517 }, (_, i) => Math.fround(Math.sin(i) * step)),
      exp_avg: new Float32Array([NaN, -0, Infinity, 1e-45, step]),
      flags: new Uint8Array([1, 2, 3]),
    },
    optimizerStep: step,
    rng: [step, 0xffffffff, 0, 7],
    cursor: { epoch: 1, index: step * 8 },
    metricsLength: step,
    best,
    seconds: step * 0.1,
  };
}

const bits = (array: Float32Array | Uint8Array) => [...new Uint8Array(array.buffer, array.byteOffset, array.byteLength)];
const steps = async (store: CheckpointStore) => (await store.list()).map(({ step }) => step);

/** Flips one bit of the stored part whose key ends in `ending`, the newest such part where there are several. */
async function damage(parts: PartStore, ending: string): Promise<void> {
  const key = (await parts.keys()).sort().filter((one) => one.endsWith(ending)).at(-1)!;
  const bytes = (await parts.read(key))!;
  bytes[bytes.length >> 1]! ^= 4;
  await parts.write(key, bytes);
}

/** A part store that stops for good after `writes` writes, as a process does that is killed there. */
class Dying implements PartStore {
  constructor(
    private readonly inner: PartStore,
    private writes: number,
  ) {}
  keys = () => this.inner.keys();
  read = (key: string) => this.inner.read(key);
  free = () => this.inner.free();
  async write(key: string, bytes: Uint8Array): Promise<void> {
    if (this.writes-- <= 0) throw new Error('killed');
    await this.inner.write(key, bytes);
  }
  async remove(keys: string[]): Promise<void> {
    if (this.writes-- <= 0) throw new Error('killed');
    await this.inner.remove(keys);
  }
}

let runs = 0;
const stores: [string, () => PartStore][] = [
  ['memory', () => new MemoryParts()],
  ['a folder', () => new FolderParts(join(folder, String(++runs)))],
  ['IndexedDB', () => new IndexedDbParts(`run ${++runs}`)],
];

describe.each(stores)('checkpoints in %s', (_, makeParts) => {
  let parts: PartStore;
  let store: CheckpointStore;
  beforeEach(() => {
    parts = makeParts();
    store = new Checkpoints(parts);
  });

  it('are none at first', async () => {
    expect(await store.load('last')).toBeNull();
    expect(await store.load('best')).toBeNull();
    expect(await store.list()).toEqual([]);
  });

  it('come back bit for bit, NaN and minus zero included', async () => {
    const saved = checkpoint(12, { step: 10, loss: 1.25 });
    await store.save(saved);
    const { checkpoint: loaded, damaged } = (await new Checkpoints(parts).load('last'))!;
    expect(damaged).toEqual([]);
    expect(Object.keys(loaded.arrays)).toEqual(['params', 'exp_avg', 'flags']);
    for (const [name, array] of Object.entries(saved.arrays)) {
      expect(bits(loaded.arrays[name]!)).toEqual(bits(array));
      expect(loaded.arrays[name]!.constructor).toBe(array.constructor);
    }
    expect({ ...loaded, arrays: 0 }).toEqual({ ...saved, arrays: 0 });
  });

  it('store a view of a larger buffer as the view alone, and arrays of no length', async () => {
    const large = Float32Array.from({ length: 100 }, (_, i) => i);
    await store.save(checkpoint(1, null, { view: large.subarray(40, 43), none: new Float32Array(0) }));
    large.fill(-1);
    const { arrays } = (await store.load('last'))!.checkpoint;
    expect([...arrays.view!]).toEqual([40, 41, 42]);
    expect(arrays.none!.length).toBe(0);
    expect((await store.list())[0]!.bytes).toBe(12);
  });

  it('of more than one part come back whole', async () => {
    // 5 Mi floats are 20 MiB: two parts of the 16 MiB limit, the second shorter.
    const params = new Float32Array(5 * 2 ** 20);
    for (let i = 0; i < params.length; i += 4099) params[i] = i;
    await store.save(checkpoint(1, null, { params }));
    const loaded = (await store.load('last'))!.checkpoint.arrays.params as Float32Array;
    expect(loaded.length).toBe(params.length);
    expect(Buffer.compare(Buffer.from(loaded.buffer), Buffer.from(params.buffer))).toBe(0);
    await damage(parts, '.0.1');
    await expect(store.load('last')).rejects.toThrow(/damaged in params/);
  });

  it('keep the last two and the best, and nothing else', async () => {
    await store.save(checkpoint(10, { step: 10, loss: 2 }));
    await store.save(checkpoint(20, { step: 10, loss: 2 }));
    await store.save(checkpoint(30, { step: 10, loss: 2 }));
    await store.save(checkpoint(40, { step: 10, loss: 2 }));
    expect(await steps(store)).toEqual([40, 30, 10]);
    expect((await store.load('best'))!.checkpoint.step).toBe(10);
    expect((await store.list()).map(({ best }) => best)).toEqual([false, false, true]);
    await store.save(checkpoint(50, { step: 50, loss: 1 }));
    expect(await steps(store)).toEqual([50, 40]);
    expect((await store.load('best'))!.checkpoint.step).toBe(50);
    // A manifest and three arrays each.
    expect((await parts.keys()).length).toBe(2 * 4);
  });

  it('give the last one where no best one was named', async () => {
    await store.save(checkpoint(10));
    await store.save(checkpoint(20));
    expect((await store.load('best'))!.checkpoint.step).toBe(20);
  });

  it('of steps that are done again are dropped', async () => {
    for (const step of [10, 20, 30]) await store.save(checkpoint(step));
    await store.save(checkpoint(25));
    expect(await steps(store)).toEqual([25, 20]);
  });

  it('of the same step are replaced', async () => {
    await store.save(checkpoint(10));
    await store.save(checkpoint(10, { step: 10, loss: 3 }));
    expect(await steps(store)).toEqual([10]);
    expect((await store.load('last'))!.checkpoint.best).toEqual({ step: 10, loss: 3 });
  });

  it.each(['.0.0', '.2.0', '.manifest'])('fall back to the older one where the newest has a flipped bit in %s, and say so', async (ending) => {
    await store.save(checkpoint(10));
    await store.save(checkpoint(20));
    await damage(parts, ending);
    const { checkpoint: loaded, damaged } = (await store.load('last'))!;
    expect(loaded.step).toBe(10);
    expect(damaged).toHaveLength(1);
    expect(damaged[0]).toMatch(/damaged/);
  });

  it('fall back where a part is missing', async () => {
    await store.save(checkpoint(10));
    await store.save(checkpoint(20));
    await parts.remove((await parts.keys()).sort().filter((key) => key.endsWith('.1.0')).slice(-1));
    const { checkpoint: loaded, damaged } = (await store.load('last'))!;
    expect(loaded.step).toBe(10);
    expect(damaged).toEqual(['The checkpoint of step 20 lacks a part of exp_avg.']);
  });

  it('never count a damaged one among the two that are kept', async () => {
    await store.save(checkpoint(10));
    await store.save(checkpoint(20));
    await damage(parts, '.0.0');
    expect((await store.load('last'))!.checkpoint.step).toBe(10);
    await store.save(checkpoint(30));
    expect(await steps(store)).toEqual([30, 10]);
  });

  it('are refused in one sentence where every one is damaged', async () => {
    await store.save(checkpoint(10));
    await damage(parts, '.0.0');
    await store.save(checkpoint(20));
    await damage(parts, '.0.0');
    const failure = await store.load('last').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(StorageError);
    expect(String(failure)).toMatch(/No checkpoint of this run is whole.*step 20.*step 10/);
  });

  it('open whole wherever a save is cut off', async () => {
    await store.save(checkpoint(10));
    await store.save(checkpoint(20));
    // A save is three arrays, the manifest, and two removals.
    for (let writes = 0; writes <= 6; writes++) {
      const step = 30 + writes;
      const dying = new Checkpoints(new Dying(parts, writes));
      await dying.save(checkpoint(step)).catch((error: Error) => expect(error.message).toBe('killed'));
      const { checkpoint: loaded, damaged } = (await new Checkpoints(parts).load('last'))!;
      expect(damaged).toEqual([]);
      expect(loaded.step).toBe(writes < 4 ? 20 : step);
      expect(bits(loaded.arrays.params!)).toEqual(bits(checkpoint(loaded.step).arrays.params!));
    }
  });

  it('leave no parts behind from a save that was cut off', async () => {
    await store.save(checkpoint(10));
    await new Checkpoints(new Dying(parts, 2)).save(checkpoint(20)).catch(() => undefined);
    expect((await parts.keys()).length).toBe(4 + 2);
    await store.save(checkpoint(30));
    expect((await parts.keys()).length).toBe(2 * 4);
  });

  it('are gone after deleteAll', async () => {
    await store.save(checkpoint(10));
    await store.deleteAll();
    expect(await parts.keys()).toEqual([]);
    expect(await store.load('last')).toBeNull();
  });

  it('of a newer version are refused by name', async () => {
    await store.save({ ...checkpoint(10), version: 2 as 1 });
    await expect(store.load('last')).rejects.toThrow(/step 10 has version 2/);
  });
});

it('IndexedDB keeps no more of a view than the view', async () => {
  const parts = new IndexedDbParts('view');
  await parts.write('00000001.0.0', new Uint8Array(1000).subarray(10, 14));
  expect((await parts.read('00000001.0.0'))!.buffer.byteLength).toBe(4);
});

/** A store with `free` bytes left that refuses further ones, as a browser's quota does. */
class Limited extends MemoryParts {
  constructor(
    private readonly room: number,
    private readonly tells: boolean,
  ) {
    super();
  }
  private used = 0;
  override async write(key: string, bytes: Uint8Array): Promise<void> {
    if (this.used + bytes.length > this.room) throw new DOMException('full', 'QuotaExceededError');
    this.used += bytes.length;
    await super.write(key, bytes);
  }
  override free(): Promise<number | null> {
    return Promise.resolve(this.tells ? this.room - this.used : null);
  }
}

describe('a full store', () => {
  it.each([true, false])('refuses a checkpoint and keeps the older one (tells its free bytes: %s)', async (tells) => {
    const parts = new Limited(6000, tells);
    const store = new Checkpoints(parts);
    await store.save(checkpoint(10));
    // The first array still fits: it has to go again.
    const big = checkpoint(20, null, { params: new Float32Array(200), exp_avg: new Float32Array(1800) });
    const failure = await store.save(big).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(StorageError);
    expect(String(failure)).toMatch(/A checkpoint needs 8\.0 kB, .*The one of step 10 is safe\./);
    if (tells) expect(String(failure)).toMatch(/\d\.\d kB are free/);
    expect((await store.load('last'))!.checkpoint.step).toBe(10);
    expect((await parts.keys()).length).toBe(4);
  });

  it('is foreseen before a run starts', () => {
    expect(() => requireCheckpointRoom(106e6, 40e6)).toThrow(/need 424 MB \(four of 106 MB\), 40 MB are free/);
    expect(() => requireCheckpointRoom(106e6, null)).not.toThrow();
    expect(() => requireCheckpointRoom(106e6, 424e6)).not.toThrow();
  });
});
