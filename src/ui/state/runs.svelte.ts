import type { RunSummary } from '../../workers/api';
import { RunRecord } from './run-record.svelte';
import { studio, toFailure, type Failure } from './studio';

/** Every run this browser keeps, newest first, and their histories as far as they were looked at. */
class Runs {
  list = $state.raw<RunSummary[]>([]);
  loaded = $state(false);
  failure = $state.raw<Failure | null>(null);
  private records = new Map<string, RunRecord>();

  async load(): Promise<void> {
    try {
      const list = await studio.listRuns();
      this.list = list.sort((a, b) => b.updatedAt - a.updatedAt);
      this.failure = null;
    } catch (thrown) {
      this.failure = toFailure(thrown);
    }
    this.loaded = true;
  }

  get(id: string): RunSummary | undefined {
    return this.list.find((run) => run.id === id);
  }

  /** The history of a run; read from the store once, or again with `fresh`. */
  async record(id: string, fresh = false): Promise<RunRecord> {
    const kept = this.records.get(id);
    if (kept && !fresh) return kept;
    const record = kept ?? new RunRecord();
    record.replace(await studio.runHistory(id));
    this.records.set(id, record);
    return record;
  }

  /** The history of a run that is being trained here, which grows by events. */
  adopt(id: string, record: RunRecord): void {
    this.records.set(id, record);
  }

  async rename(id: string, name: string): Promise<void> {
    await studio.renameRun(id, name);
    await this.load();
  }

  async remove(id: string): Promise<void> {
    await studio.deleteRun(id);
    this.records.delete(id);
    await this.load();
  }
}

export const runs = new Runs();
