import 'fake-indexeddb/auto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StorageError } from '../../src/core/errors';
import { FolderRuns } from '../../src/storage/folder';
import { IndexedDbRuns, openDatabase } from '../../src/storage/indexeddb';
import { MemoryRuns, type MetricPoint, type RunRecord, type RunStore } from '../../src/storage/runs';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hone-runs-'));
});
afterAll(() => rm(folder, { recursive: true }));

function record(id: string, createdAt = 1): RunRecord {
  return {
    id,
    name: `run ${id}`,
    status: 'running',
    recipe: { model: 'm', training: { seed: 1 } },
    modelId: 'm',
    modelName: 'SmolLM2',
    datasetId: 'd',
    datasetName: 'rows.jsonl',
    step: 0,
    totalSteps: 100,
    savedStep: 0,
    bestStep: null,
    lastLoss: null,
    evalLoss: null,
    drift: null,
    createdAt,
    updatedAt: createdAt,
    message: null,
  };
}

function metric(step: number, loss = 2 - step / 1000): MetricPoint {
  return { step, loss, grad_norm: 0.5, learning_rate: 1e-4, tokens: 128, tokens_per_second: 400.5, seconds: step * 0.25, epoch: step / 100 };
}

let count = 0;
const stores: [string, () => { store: RunStore; again: () => RunStore }][] = [
  [
    'memory',
    () => {
      const store = new MemoryRuns();
      return { store, again: () => store };
    },
  ],
  [
    'a folder',
    () => {
      const root = join(folder, String(++count));
      return { store: new FolderRuns(root), again: () => new FolderRuns(root) };
    },
  ],
  [
    'IndexedDB',
    () => {
      const database = openDatabase(`runs-${++count}`);
      return { store: new IndexedDbRuns(database), again: () => new IndexedDbRuns(database) };
    },
  ],
];

describe.each(stores)('runs in %s', (_, make) => {
  let store: RunStore;
  /** The same store as a fresh page or process would open it. */
  let again: () => RunStore;
  beforeEach(() => {
    ({ store, again } = make());
  });

  it('come back as they were put', async () => {
    await store.put(record('a'));
    expect(await again().get('a')).toEqual(record('a'));
    expect(await store.get('b')).toBeNull();
  });

  it('are listed newest first', async () => {
    expect(await store.list()).toEqual([]);
    for (const [id, at] of [['old', 1], ['new', 3], ['mid', 2]] as const) await store.put(record(id, at));
    expect((await again().list()).map(({ id }) => id)).toEqual(['new', 'mid', 'old']);
  });

  it('change field by field', async () => {
    await store.put(record('a'));
    const updated = await store.update('a', { status: 'done', lastLoss: 1.5 });
    expect(updated).toMatchObject({ name: 'run a', status: 'done', lastLoss: 1.5 });
    expect(updated.updatedAt).toBeGreaterThan(1);
    expect(await again().get('a')).toEqual(updated);
  });

  it('lose no change when several are made at once', async () => {
    await store.put(record('a'));
    const changes = [{ name: 'new' }, { status: 'paused' }, { step: 7 }, { lastLoss: 1 }, { savedStep: 5 }] as const;
    await Promise.all(changes.map((change) => store.update('a', change)));
    expect(await again().get('a')).toMatchObject(Object.assign({}, ...changes) as object);
  });

  it('keep every point, in order', async () => {
    await store.put(record('a'));
    await store.put(record('b'));
    await store.append('a', 'metrics', [metric(2), metric(10)]);
    await store.append('a', 'metrics', [metric(1)]);
    await store.append('a', 'evals', [{ step: 2, loss: 1.9, best: true }]);
    await store.append('a', 'samples', [
      { step: 2, prompt: 'one', text: 'a "quoted"\nline' },
      { step: 2, prompt: 'two', text: 'ü' },
    ]);
    await store.append('b', 'metrics', [metric(7)]);
    expect(await again().history('a')).toEqual({
      metrics: [metric(1), metric(2), metric(10)],
      evals: [{ step: 2, loss: 1.9, best: true }],
      samples: [
        { step: 2, prompt: 'one', text: 'a "quoted"\nline' },
        { step: 2, prompt: 'two', text: 'ü' },
      ],
    });
    expect((await again().history('b')).metrics).toEqual([metric(7)]);
  });

  it('keep a loss that is not a number as NaN', async () => {
    await store.put(record('a'));
    await store.append('a', 'metrics', [metric(1, NaN)]);
    expect((await again().history('a')).metrics[0]!.loss).toBeNaN();
  });

  it('cut the points past a step, of every series and of no other run', async () => {
    for (const id of ['a', 'b']) {
      await store.put(record(id));
      await store.append(id, 'metrics', [99, 100, 101, 1000].map((step) => metric(step)));
      await store.append(id, 'evals', [100, 101].map((step) => ({ step, loss: 1, best: false })));
      await store.append(id, 'samples', [100, 101].map((step) => ({ step, prompt: 'p', text: 't' })));
    }
    await again().truncate('a', 100);
    const { metrics, evals, samples } = await again().history('a');
    expect([metrics, evals, samples].map((series) => series.map(({ step }) => step))).toEqual([[99, 100], [100], [100]]);
    expect((await again().history('b')).metrics.length).toBe(4);
    await store.append('a', 'metrics', [metric(101, 5)]);
    expect((await again().history('a')).metrics.at(-1)!.loss).toBe(5);
  });

  it('hold one point a step when steps are done again', async () => {
    await store.put(record('a'));
    await store.append('a', 'metrics', [metric(1, 3), metric(2, 3)]);
    await store.append('a', 'metrics', [metric(2, 4)]);
    expect((await again().history('a')).metrics.map(({ loss }) => loss)).toEqual([3, 4]);
  });

  it('are gone with their points once deleted', async () => {
    await store.put(record('a'));
    await store.append('a', 'metrics', [metric(1)]);
    await store.delete('a');
    await store.delete('a');
    expect(await again().get('a')).toBeNull();
    await store.put(record('a'));
    expect((await again().history('a')).metrics).toEqual([]);
  });

  it('that are unknown are named', async () => {
    for (const call of [
      () => store.update('x', { name: 'y' }),
      () => store.append('x', 'metrics', [metric(1)]),
      () => store.history('x'),
      () => store.truncate('x', 1),
    ]) {
      await expect(call()).rejects.toThrow(StorageError);
      await expect(call()).rejects.toThrow(/Run x is not kept here/);
    }
    expect(await store.list()).toEqual([]);
  });

  it('take 2,000 points one by one, also when nobody waits for the one before', async () => {
    await store.put(record('a'));
    await Promise.all(Array.from({ length: 2000 }, (_, i) => store.append('a', 'metrics', [metric(i + 1)])));
    const { metrics } = await again().history('a');
    expect(metrics.length).toBe(2000);
    expect(metrics.every((point, i) => point.step === i + 1)).toBe(true);
  });
});

describe("a run's folder", () => {
  it('holds one JSON object a line', async () => {
    const root = join(folder, 'lines');
    const store = new FolderRuns(root);
    await store.put(record('a'));
    await store.append('a', 'metrics', [metric(1), metric(2, NaN)]);
    const lines = (await readFile(join(root, 'a', 'metrics.jsonl'), 'utf8')).split('\n');
    expect(JSON.parse(lines[0]!)).toEqual(metric(1));
    expect(JSON.parse(lines[1]!)).toMatchObject({ step: 2, loss: null });
    expect(lines[2]).toBe('');
  });

  it('drops a line that was half-written when the process died, and goes on after the last whole one', async () => {
    const root = join(folder, 'torn');
    await new FolderRuns(root).put(record('a'));
    await new FolderRuns(root).append('a', 'metrics', [metric(1), metric(2)]);
    await appendFile(join(root, 'a', 'metrics.jsonl'), '{"step":3,"lo');
    expect((await new FolderRuns(root).history('a')).metrics.map(({ step }) => step)).toEqual([1, 2]);
    const resumed = new FolderRuns(root);
    await resumed.append('a', 'metrics', [metric(3)]);
    expect((await resumed.history('a')).metrics.map(({ step }) => step)).toEqual([1, 2, 3]);
  });

  it('with a broken line or record says which file and line', async () => {
    const root = join(folder, 'broken');
    const store = new FolderRuns(root);
    await store.put(record('a'));
    await writeFile(join(root, 'a', 'evals.jsonl'), '{"step":1,"loss":1,"best":true}\nnonsense\n');
    await expect(store.history('a')).rejects.toThrow(/evals\.jsonl line 2 is not JSON/);
    await mkdir(join(root, 'b'));
    await writeFile(join(root, 'b', 'run.json'), '{');
    await expect(store.get('b')).rejects.toThrow(/run\.json is not JSON/);
  });

  it.each(['', '..', 'a/b', 'a\\b'])('is never outside its root: %j is refused', async (id) => {
    await expect(new FolderRuns(join(folder, 'root')).put(record(id))).rejects.toThrow(/cannot name a run's folder/);
  });
});
