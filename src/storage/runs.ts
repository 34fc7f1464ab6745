import { StorageError } from '../core/errors';
import type { Drift, RunHistory } from '../core/metrics';
export type { EvalPoint, MetricPoint, RunHistory, SamplePoint } from '../core/metrics';

export type SeriesName = keyof RunHistory;
export const SERIES: readonly SeriesName[] = ['metrics', 'evals', 'samples'];

/** A run as lists show it. `recipe` is JSON; who reads it parses it. */
export interface RunRecord {
  id: string;
  name: string;
  status: 'running' | 'paused' | 'stopped' | 'interrupted' | 'done' | 'failed';
  recipe: unknown;
  modelId: string;
  modelName: string;
  datasetId: string;
  datasetName: string;
  step: number;
  totalSteps: number;
  /** The last checkpoint's step, 0 where there is none yet. */
  savedStep: number;
  bestStep: number | null;
  lastLoss: number | null;
  evalLoss: number | null;
  /** What quantising the base costs; null where it was not quantised. */
  drift: Drift | null;
  /** Milliseconds since 1970. */
  createdAt: number;
  updatedAt: number;
  /** Why it failed, in a sentence. */
  message: string | null;
}

/** What a run is called and made of; all else follows from its not having begun. */
type RunIdentity = Pick<RunRecord, 'id' | 'name' | 'recipe' | 'modelId' | 'modelName' | 'datasetId' | 'datasetName' | 'totalSteps'>;

/** The record of a run that starts now. */
export function newRun(identity: RunIdentity): RunRecord {
  const now = Date.now();
  const nothingYet = { step: 0, savedStep: 0, bestStep: null, lastLoss: null, evalLoss: null, drift: null, message: null };
  return { ...identity, ...nothingYet, status: 'running', createdAt: now, updatedAt: now };
}

/** Runs and their points. Each call that resolved is kept, whatever happens to the page or process after. */
export interface RunStore {
  /** Adds a run, or replaces the record of the same id (its points stay). */
  put(record: RunRecord): Promise<void>;
  /** Changes fields and sets `updatedAt`; a StorageError where there is no such run. */
  update(id: string, changes: Partial<Omit<RunRecord, 'id'>>): Promise<RunRecord>;
  get(id: string): Promise<RunRecord | null>;
  /** Newest first. */
  list(): Promise<RunRecord[]>;
  /** Adds points; a point of a step (and prompt) that is there already replaces it. */
  append<S extends SeriesName>(id: string, series: S, points: RunHistory[S]): Promise<void>;
  history(id: string): Promise<RunHistory>;
  /** Cuts points of steps past `step`, when a run goes on from an older checkpoint. */
  truncate(id: string, step: number): Promise<void>;
  /** Forgets a run and its points; nothing happens where there is none. */
  delete(id: string): Promise<void>;
}

/** What tells two points of a series apart within one step. */
export function pointKey(point: { step: number; prompt?: string }): [step: number, prompt: string] {
  return [point.step, point.prompt ?? ''];
}

/** Points in order of step, then prompt; of two with the same key the later one. */
export function ordered<P extends { step: number; prompt?: string }>(points: readonly P[]): P[] {
  const latest = new Map<string, P>();
  for (const point of points) latest.set(JSON.stringify(pointKey(point)), point);
  return [...latest.values()].sort((a, b) => {
    const [stepA, promptA] = pointKey(a);
    const [stepB, promptB] = pointKey(b);
    return stepA - stepB || (promptA < promptB ? -1 : promptA > promptB ? 1 : 0);
  });
}

/** The error for a run that is not kept here. */
export function unknownRun(id: string): StorageError {
  return new StorageError(`Run ${id} is not kept here; it may have been deleted. Start it again from its recipe.`);
}

export function newestFirst(records: RunRecord[]): RunRecord[] {
  return records.sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));
}

/** Runs in memory, for tests. */
export class MemoryRuns implements RunStore {
  private readonly runs = new Map<string, { record: RunRecord; history: RunHistory }>();

  put(record: RunRecord): Promise<void> {
    const history = this.runs.get(record.id)?.history ?? { metrics: [], evals: [], samples: [] };
    this.runs.set(record.id, { record: structuredClone(record), history });
    return Promise.resolve();
  }
  async update(id: string, changes: Partial<Omit<RunRecord, 'id'>>): Promise<RunRecord> {
    const run = this.require(id);
    await this.put({ ...run.record, ...changes, updatedAt: Date.now() });
    return structuredClone(this.require(id).record);
  }
  get(id: string): Promise<RunRecord | null> {
    return Promise.resolve(structuredClone(this.runs.get(id)?.record ?? null));
  }
  list(): Promise<RunRecord[]> {
    return Promise.resolve(newestFirst([...this.runs.values()].map(({ record }) => structuredClone(record))));
  }
  async append<S extends SeriesName>(id: string, series: S, points: RunHistory[S]): Promise<void> {
    const kept: unknown[] = this.require(id).history[series];
    for (const point of points) kept.push(structuredClone(point));
  }
  async history(id: string): Promise<RunHistory> {
    const { metrics, evals, samples } = this.require(id).history;
    return structuredClone({ metrics: ordered(metrics), evals: ordered(evals), samples: ordered(samples) });
  }
  async truncate(id: string, step: number): Promise<void> {
    const run = this.require(id);
    const upTo = <P extends { step: number }>(points: P[]) => points.filter((point) => point.step <= step);
    run.history = { metrics: upTo(run.history.metrics), evals: upTo(run.history.evals), samples: upTo(run.history.samples) };
  }
  delete(id: string): Promise<void> {
    this.runs.delete(id);
    return Promise.resolve();
  }
  private require(id: string) {
    const run = this.runs.get(id);
    if (!run) throw unknownRun(id);
    return run;
  }
}
