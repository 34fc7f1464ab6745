/** Checkpoints and runs in the browser's database, through idb-keyval's stores. */
import { createStore, get, promisifyRequest, set, type UseStore } from 'idb-keyval';
import { HoneError, StorageError } from '../core/errors';
import type { PartStore } from './checkpoints';
import { newestFirst, ordered, pointKey, unknownRun, type RunHistory, type RunRecord, type RunStore, type SeriesName } from './runs';
import { freeBytes, isOutOfSpace, outOfSpace } from './space';

/** Databases of Hone; idb-keyval keeps one object store in each. */
export const CHECKPOINT_DATABASE = 'hone-checkpoints';
export const RUN_DATABASE = 'hone-runs';

/** Opens one of Hone's databases (on its first use). */
export function openDatabase(name: string): UseStore {
  return createStore(name, 'entries');
}

/** All keys of an array-keyed store that begin with `start`: arrays sort before any longer one, and [] after all strings. */
function startingWith(...start: (string | number)[]): IDBKeyRange {
  return IDBKeyRange.bound(start, [...start, []]);
}

/** Runs database work; errors of the browser's own become StorageErrors, except a full disk, which the caller explains. */
async function guarded<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof HoneError || isOutOfSpace(error)) throw error;
    const found = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    throw new StorageError(`${what} failed in the browser's database (${found}); reload the page, and allow this site to keep data.`);
  }
}

/** The parts of one run's checkpoints, under keys [run, part]. */
export class IndexedDbParts implements PartStore {
  constructor(
    private readonly run: string,
    private readonly database: UseStore = openDatabase(CHECKPOINT_DATABASE),
  ) {}

  keys(): Promise<string[]> {
    return guarded('Listing checkpoints', () =>
      this.database('readonly', async (store) => {
        const keys = await promisifyRequest(store.getAllKeys(startingWith(this.run)));
        return keys.map((key) => String((key as IDBValidKey[])[1]));
      }),
    );
  }
  read(key: string): Promise<Uint8Array | undefined> {
    return guarded('Reading a checkpoint', () => get<Uint8Array>([this.run, key], this.database));
  }
  write(key: string, bytes: Uint8Array): Promise<void> {
    // A copy: storing a view would store the whole buffer beneath it.
    return guarded('Saving a checkpoint', () => set([this.run, key], bytes.slice(), this.database));
  }
  remove(keys: string[]): Promise<void> {
    if (keys.length === 0) return Promise.resolve();
    return guarded('Deleting a checkpoint', () =>
      this.database('readwrite', (store) => {
        for (const key of keys) store.delete([this.run, key]);
        return promisifyRequest(store.transaction);
      }),
    );
  }
  free(): Promise<number | null> {
    return freeBytes();
  }
}

/**
 * Runs under keys ['run', id] and each point under ['point', id, series, step, prompt]: adding a point
 * costs the same however many there are, and points past a step are one range.
 */
export class IndexedDbRuns implements RunStore {
  constructor(private readonly database: UseStore = openDatabase(RUN_DATABASE)) {}

  put(record: RunRecord): Promise<void> {
    return this.write('Saving the run', (store) => void store.put(record, ['run', record.id]));
  }

  async update(id: string, changes: Partial<Omit<RunRecord, 'id'>>): Promise<RunRecord> {
    let updated: RunRecord | null = null;
    await this.write('Saving the run', (store) => {
      const request = store.get(['run', id]);
      request.onsuccess = () => {
        if (!request.result) return;
        updated = { ...(request.result as RunRecord), ...changes, updatedAt: Date.now() };
        store.put(updated, ['run', id]);
      };
    });
    if (!updated) throw unknownRun(id);
    return updated;
  }

  async get(id: string): Promise<RunRecord | null> {
    return (await guarded('Reading the run', () => get<RunRecord>(['run', id], this.database))) ?? null;
  }

  list(): Promise<RunRecord[]> {
    return guarded('Listing the runs', () =>
      this.database('readonly', async (store) => newestFirst(await promisifyRequest<RunRecord[]>(store.getAll(startingWith('run'))))),
    );
  }

  async append<S extends SeriesName>(id: string, series: S, points: RunHistory[S]): Promise<void> {
    let known = false;
    await this.write("Saving the run's numbers", (store) => {
      const request = store.getKey(['run', id]);
      request.onsuccess = () => {
        known = request.result !== undefined;
        if (known) for (const point of points) store.put(point, ['point', id, series, ...pointKey(point)]);
      };
    });
    if (!known) throw unknownRun(id);
  }

  async history(id: string): Promise<RunHistory> {
    if (!(await this.get(id))) throw unknownRun(id);
    return guarded("Reading the run's numbers", () =>
      this.database('readonly', async (store) => {
        const series = <S extends SeriesName>(name: S) => promisifyRequest<RunHistory[S]>(store.getAll(startingWith('point', id, name)));
        const [metrics, evals, samples] = await Promise.all([series('metrics'), series('evals'), series('samples')]);
        return { metrics: ordered(metrics), evals: ordered(evals), samples: ordered(samples) };
      }),
    );
  }

  async truncate(id: string, step: number): Promise<void> {
    if (!(await this.get(id))) throw unknownRun(id);
    await this.write("Cutting the run's numbers", (store) => {
      for (const series of ['metrics', 'evals', 'samples'] satisfies SeriesName[]) {
        store.delete(IDBKeyRange.bound(['point', id, series, step, []], ['point', id, series, []]));
      }
    });
  }

  delete(id: string): Promise<void> {
    return this.write('Deleting the run', (store) => {
      store.delete(['run', id]);
      store.delete(startingWith('point', id));
    });
  }

  /** One transaction: all of `work` is kept, or none. */
  private async write(what: string, work: (store: IDBObjectStore) => void): Promise<void> {
    try {
      await guarded(what, () =>
        this.database('readwrite', (store) => {
          work(store);
          return promisifyRequest(store.transaction);
        }),
      );
    } catch (error) {
      if (!isOutOfSpace(error)) throw error;
      throw outOfSpace("The run's record", 1000, await freeBytes(), 'The last checkpoint is safe.');
    }
  }
}
