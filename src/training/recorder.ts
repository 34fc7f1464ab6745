import type { CheckpointStore } from '../storage/checkpoints';
import type { RunRecord, RunStore } from '../storage/runs';
import type { TrainingEvent } from './events';

/** Milliseconds between two writes of a run's record while steps go by; its points are written at once. */
const RECORD_EVERY = 1000;

/** Keeps what a run tells: every point in order, and the record's own figures. */
export class RunRecorder {
  private last: Promise<void> = Promise.resolve();
  private failure: { error: unknown } | null = null;
  private changes: Partial<Omit<RunRecord, 'id'>> = {};
  private written = 0;

  constructor(
    private readonly runs: RunStore,
    private readonly id: string,
  ) {}

  /** Takes an event; the writing goes on behind, in order. */
  on(event: TrainingEvent): void {
    switch (event.type) {
      case 'preparing':
        return;
      case 'drift':
        this.change({ drift: event.drift });
        return this.writeRecord();
      case 'resumed':
        this.change({ step: event.step, savedStep: event.step });
        return this.behind(() => this.runs.truncate(this.id, event.step));
      case 'step':
        this.change({ step: event.point.step, totalSteps: event.totalSteps, lastLoss: event.point.loss });
        this.behind(() => this.runs.append(this.id, 'metrics', [event.point]));
        if (performance.now() - this.written > RECORD_EVERY) this.writeRecord();
        return;
      case 'eval':
        this.change({ evalLoss: event.point.loss, ...(event.point.best && { bestStep: event.point.step }) });
        return this.behind(() => this.runs.append(this.id, 'evals', [event.point]));
      case 'sample':
        return this.behind(() => this.runs.append(this.id, 'samples', [event.point]));
      case 'saved':
        this.change({ savedStep: event.step });
        return this.writeRecord();
    }
  }

  /** The same store, in which a checkpoint counts as saved only after the points up to it are kept. */
  checkpoints(store: CheckpointStore): CheckpointStore {
    return {
      save: async (checkpoint) => {
        await this.flush();
        await store.save(checkpoint);
      },
      load: (which) => store.load(which),
      list: () => store.list(),
      deleteAll: () => store.deleteAll(),
    };
  }

  /** Writes the record's last figures with `changes` on top, after all points. Throws the first failure there was. */
  async finish(changes: Partial<Omit<RunRecord, 'id'>>): Promise<void> {
    this.change(changes);
    this.writeRecord();
    await this.flush();
  }

  /** Resolves once everything so far is kept; throws the first failure there was. */
  async flush(): Promise<void> {
    await this.last;
    if (this.failure) throw this.failure.error;
  }

  private change(changes: Partial<Omit<RunRecord, 'id'>>): void {
    Object.assign(this.changes, changes);
  }

  private writeRecord(): void {
    const changes = this.changes;
    this.changes = {};
    this.written = performance.now();
    this.behind(async () => void (await this.runs.update(this.id, changes)));
  }

  private behind(work: () => Promise<void>): void {
    this.last = this.last.then(work).catch((error: unknown) => {
      this.failure ??= { error };
    });
  }
}
