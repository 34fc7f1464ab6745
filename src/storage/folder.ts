/**
 * Checkpoints and runs as files in a folder. Node only: nothing that the browser loads may import this.
 * A run is a folder with run.json, metrics.jsonl, evals.jsonl, samples.jsonl and checkpoints/.
 */
import { appendFile, mkdir, open, readdir, readFile, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageError } from '../core/errors';
import { Checkpoints, type PartStore } from './checkpoints';
import { replaceFile, syncFolder } from './node-file';
import { newestFirst, ordered, SERIES, unknownRun, type RunHistory, type RunRecord, type RunStore, type SeriesName } from './runs';

const isAbsent = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Parts as files of one folder, each written beside, flushed and renamed. */
export class FolderParts implements PartStore {
  constructor(private readonly path: string) {}

  async keys(): Promise<string[]> {
    const names = await readdir(this.path).catch((error: unknown) => {
      if (isAbsent(error)) return [];
      throw error;
    });
    return names.filter((name) => /^\d{8}\./.test(name));
  }
  async read(key: string): Promise<Uint8Array | undefined> {
    try {
      return new Uint8Array(await readFile(join(this.path, key)));
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }
  async write(key: string, bytes: Uint8Array): Promise<void> {
    await mkdir(this.path, { recursive: true });
    await replaceFile(join(this.path, key), bytes);
  }
  async remove(keys: string[]): Promise<void> {
    for (const key of keys) await rm(join(this.path, key), { force: true });
    if (keys.length > 0) await syncFolder(this.path);
  }
  async free(): Promise<number | null> {
    await mkdir(this.path, { recursive: true });
    const { bavail, bsize } = await statfs(this.path);
    return bavail * bsize;
  }
}

/** The checkpoints of the run in folder `run`. */
export function folderCheckpoints(run: string): Checkpoints {
  return new Checkpoints(new FolderParts(join(run, 'checkpoints')));
}

/** Runs as folders of `root`, each named by its id. */
export class FolderRuns implements RunStore {
  /** Work on files one at a time: an append must not meet a rewrite. */
  private last: Promise<unknown> = Promise.resolve();
  /** Files whose end was looked at since this process began. */
  private readonly mended = new Set<string>();
  constructor(private readonly root: string) {}

  put(record: RunRecord): Promise<void> {
    return this.inTurn(() => this.writeRecord(record));
  }

  update(id: string, changes: Partial<Omit<RunRecord, 'id'>>): Promise<RunRecord> {
    return this.inTurn(async () => {
      const record = { ...(await this.require(id)), ...changes, updatedAt: Date.now() };
      await this.writeRecord(record);
      return record;
    });
  }

  get(id: string): Promise<RunRecord | null> {
    return this.inTurn(() => this.readRecord(id));
  }

  list(): Promise<RunRecord[]> {
    return this.inTurn(async () => {
      const entries = await readdir(this.root, { withFileTypes: true }).catch((error: unknown) => {
        if (isAbsent(error)) return [];
        throw error;
      });
      const records = await Promise.all(entries.filter((entry) => entry.isDirectory()).map((entry) => this.readRecord(entry.name)));
      return newestFirst(records.filter((record) => record !== null));
    });
  }

  append<S extends SeriesName>(id: string, series: S, points: RunHistory[S]): Promise<void> {
    return this.inTurn(async () => {
      await this.require(id);
      const path = this.path(id, `${series}.jsonl`);
      if (!this.mended.has(path)) await cutHalfLine(path);
      this.mended.add(path);
      await appendFile(path, toLines(points));
    });
  }

  history(id: string): Promise<RunHistory> {
    return this.inTurn(() => this.readHistory(id));
  }

  truncate(id: string, step: number): Promise<void> {
    return this.inTurn(async () => {
      const history = await this.readHistory(id);
      for (const series of SERIES) {
        const points: { step: number }[] = history[series];
        const kept = points.filter((point) => point.step <= step);
        if (kept.length < points.length) await replaceFile(this.path(id, `${series}.jsonl`), new TextEncoder().encode(toLines(kept)));
      }
    });
  }

  delete(id: string): Promise<void> {
    return this.inTurn(async () => {
      for (const name of ['run.json', ...SERIES.map((series) => `${series}.jsonl`), 'checkpoints']) {
        await rm(this.path(id, name), { recursive: true, force: true });
      }
    });
  }

  private async readHistory(id: string): Promise<RunHistory> {
    await this.require(id);
    return {
      metrics: ordered(await readLines<RunHistory['metrics'][number]>(this.path(id, 'metrics.jsonl'))),
      evals: ordered(await readLines<RunHistory['evals'][number]>(this.path(id, 'evals.jsonl'))),
      samples: ordered(await readLines<RunHistory['samples'][number]>(this.path(id, 'samples.jsonl'))),
    };
  }

  private async writeRecord(record: RunRecord): Promise<void> {
    await mkdir(this.path(record.id), { recursive: true });
    await replaceFile(this.path(record.id, 'run.json'), new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`));
  }

  private async readRecord(id: string): Promise<RunRecord | null> {
    const path = this.path(id, 'run.json');
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (isAbsent(error)) return null;
      throw error;
    });
    if (text === null) return null;
    try {
      // The folder's name is what calls go by, also after it was moved or renamed.
      return { ...(JSON.parse(text) as RunRecord), id };
    } catch {
      throw new StorageError(`${path} is not JSON; restore it, or delete it and train into a new folder.`);
    }
  }

  private async require(id: string): Promise<RunRecord> {
    const record = await this.readRecord(id);
    if (!record) throw unknownRun(id);
    return record;
  }

  private path(id: string, file = ''): string {
    if (id === '' || id === '.' || id === '..' || /[/\\\0]/.test(id)) {
      throw new StorageError(`"${id}" cannot name a run's folder; use a name without slashes.`);
    }
    return join(this.root, id, file);
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work, work);
    this.last = turn.catch(() => undefined);
    return turn;
  }
}

/** JSON has no NaN: a loss that is not a number is written as null and read back as NaN. */
function toLines(points: readonly object[]): string {
  return points.map((point) => `${JSON.stringify(point)}\n`).join('');
}

async function readLines<P extends object>(path: string): Promise<P[]> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (isAbsent(error)) return '';
    throw error;
  });
  // What follows the last line end was being written when the process died.
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  const points: P[] = [];
  lines.forEach((line, index) => {
    if (line === '') return;
    try {
      points.push(JSON.parse(line, (_, value: unknown) => (value === null ? NaN : value)) as P);
    } catch {
      throw new StorageError(`${path} line ${index + 1} is not JSON; correct or remove the line.`);
    }
  });
  return points;
}

/** Cuts a file after its last line end. */
async function cutHalfLine(path: string): Promise<void> {
  const file = await open(path, 'r+').catch((error: unknown) => {
    if (isAbsent(error)) return null;
    throw error;
  });
  if (!file) return;
  try {
    const bytes = await file.readFile();
    await file.truncate(bytes.lastIndexOf(10) + 1);
  } finally {
    await file.close();
  }
}
