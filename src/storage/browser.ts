/** What Hone keeps in a browser: where it is, how much it is, and how all of it goes. */
import { clear, keys } from 'idb-keyval';
import { StorageError } from '../core/errors';
import { Checkpoints, type CheckpointStore } from './checkpoints';
import { Files, type FileStore } from './files';
import { CHECKPOINT_DATABASE, IndexedDbParts, IndexedDbRuns, openDatabase, RUN_DATABASE } from './indexeddb';
import { OpfsFiles } from './opfs';
import type { RunStore } from './runs';
import { formatBytes } from './space';

export interface StorageEstimate {
  /** Bytes this page keeps, and may keep, as the browser counts them. */
  used: number;
  quota: number;
  /** The browser promised not to evict them. */
  persisted: boolean;
}

export class BrowserStorage {
  private readonly checkpointDatabase = openDatabase(CHECKPOINT_DATABASE);
  private readonly runDatabase = openDatabase(RUN_DATABASE);
  private readonly medium = new OpfsFiles();
  readonly runs: RunStore = new IndexedDbRuns(this.runDatabase);
  /** Models and data sets. */
  readonly files: FileStore = new Files(this.medium);

  checkpoints(run: string): CheckpointStore {
    return new Checkpoints(new IndexedDbParts(run, this.checkpointDatabase));
  }

  /** Forgets a run: record, points and checkpoints. */
  async deleteRun(run: string): Promise<void> {
    await this.checkpoints(run).deleteAll();
    await this.runs.delete(run);
  }

  async estimate(): Promise<StorageEstimate> {
    const { usage = 0, quota = 0 } = await navigator.storage.estimate();
    return { used: usage, quota, persisted: await navigator.storage.persisted() };
  }

  /** Deletes all that Hone keeps here, looks again, and returns the bytes that went. A StorageError where something stayed. */
  async deleteEverything(): Promise<number> {
    const before = await this.bytesKept();
    await clear(this.checkpointDatabase);
    await clear(this.runDatabase);
    await this.medium.remove([]);
    const left = [
      ...(await keys(this.checkpointDatabase)).map(String),
      ...(await keys(this.runDatabase)).map(String),
      ...(await this.medium.names([])),
    ];
    if (left.length > 0) {
      throw new StorageError(
        `${left.length} entries are still kept (${left[0]}, ` +
          `${formatBytes(await this.bytesKept())}); close Hone's other tabs and delete again.`,
      );
    }
    return before;
  }

  /** Bytes of files and checkpoints; charts and records are small and not counted. */
  private async bytesKept(): Promise<number> {
    const files = (await this.files.list()).reduce((sum, file) => sum + file.bytes, 0);
    const saved = await Promise.all((await this.runs.list()).map(({ id }) => this.checkpoints(id).list()));
    return files + saved.flat().reduce((sum, checkpoint) => sum + checkpoint.bytes, 0);
  }
}
