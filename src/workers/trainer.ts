import type { Adapter } from '../core/adapter';
import { DeviceError, HoneError, StorageError, TrainingError } from '../core/errors';
import { mib, type Gpu } from '../runtime/device';
import { checkpointBytes, requireCheckpointRoom } from '../storage/checkpoints';
import type { Release } from '../storage/lock';
import { newRun, type RunRecord } from '../storage/runs';
import { TrainingControl, type TrainingEvent } from '../training/events';
import { parseRecipe, type RecipeInput } from '../training/recipe';
import { RunRecorder } from '../training/recorder';
import { startingAdapter } from '../training/starting-adapter';
import { train, type TrainingOutcome } from '../training/train';
import type { RunEvent, RunHistory, RunStatus, RunSummary } from './api';
import type { AdapterShelf } from './adapters';
import type { DeviceDesk } from './device-desk';
import type { StudioEnvironment } from './environment';
import type { Planner, PreparedRun } from './planner';

const ELSEWHERE = 'This run is training in another tab.';

/** The run that has the GPU. */
interface Active {
  id: string;
  control: TrainingControl;
  onEvent: (event: RunEvent) => void;
  /** Resolves when all of it has ended and is written down. */
  ended: Promise<void>;
}

/** What is trained: a plan, from where. */
interface Job {
  id: string;
  plan: PreparedRun;
  initial: Adapter | null;
  resume: boolean;
}

/** Runs: starts one at a time, keeps all. */
export class Trainer {
  private active: Active | null = null;
  /** From a call that takes the GPU up to where its run is active. */
  private starting = false;

  constructor(
    private readonly environment: Pick<StudioEnvironment, 'runs' | 'checkpoints' | 'files' | 'lock'>,
    private readonly planner: Planner,
    private readonly adapters: AdapterShelf,
    private readonly desk: DeviceDesk,
  ) {}

  /** Starts a run and returns its id once training has begun. Throws, with nothing left behind, where it cannot. */
  start(input: RecipeInput, name: string, onEvent: (event: RunEvent) => void): Promise<string> {
    return this.alone(() => this.startAlone(input, name, onEvent));
  }

  private async startAlone(input: RecipeInput, name: string, onEvent: (event: RunEvent) => void): Promise<string> {
    const plan = await this.planner.prepare(parseRecipe(input), (progress) => onEvent({ type: 'preparing', progress }));
    const initial = await this.initialAdapter(plan);
    const totalSteps = await this.requireRoom(plan);
    const id = crypto.randomUUID();
    const release = await this.takeLock();
    try {
      await this.environment.runs.put(newRecord(id, name, plan, totalSteps));
      await this.launch({ id, plan, initial, resume: false }, onEvent, release);
    } catch (error) {
      release();
      await this.delete(id);
      throw error;
    }
    return id;
  }

  /** Lets a paused run go on, or takes an interrupted, stopped or failed one up from its last checkpoint. */
  async resume(id: string, onEvent: (event: RunEvent) => void): Promise<void> {
    if (this.active?.id === id) {
      this.active.onEvent = onEvent;
      this.active.control.resume();
      return this.tell('running', null);
    }
    return this.alone(() => this.resumeAlone(id, onEvent));
  }

  private async resumeAlone(id: string, onEvent: (event: RunEvent) => void): Promise<void> {
    const record = await this.record(id);
    const plan = await this.planner.prepare(parseRecipe(record.recipe), (progress) => onEvent({ type: 'preparing', progress }));
    const isBegun = (await this.environment.checkpoints(id).list()).length > 0;
    const initial = isBegun ? null : await this.initialAdapter(plan);
    await this.requireRoom(plan);
    const release = await this.takeLock();
    try {
      await this.launch({ id, plan, initial, resume: true }, onEvent, release);
    } catch (error) {
      release();
      await this.environment.runs.update(id, { status: 'interrupted', message: sentence(error) });
      throw error;
    }
  }

  async pause(): Promise<void> {
    this.active?.control.pause();
    if (this.active) await this.tell('paused', null);
  }

  /** Ends the active run after its current step, and waits until all is written. */
  async stop(how: 'keep' | 'discard'): Promise<void> {
    const { active } = this;
    active?.control.stop(how);
    await active?.ended;
  }

  /** All runs, newest first. What was running when its tab or browser ended is interrupted. */
  async list(): Promise<RunSummary[]> {
    const { runs, lock } = this.environment;
    const records = await runs.list();
    const isGoing = ({ status, id }: RunRecord): boolean => (status === 'running' || status === 'paused') && id !== this.active?.id;
    const elsewhere = records.some(isGoing) && this.active === null && (await lock.isHeld());
    const summaries: RunSummary[] = [];
    for (const record of records) {
      if (!isGoing(record)) summaries.push(summaryOf(record));
      else if (elsewhere) summaries.push(summaryOf({ ...record, status: 'running', message: ELSEWHERE }));
      else summaries.push(summaryOf(await runs.update(record.id, { status: 'interrupted', message: null })));
    }
    return summaries;
  }

  history(id: string): Promise<RunHistory> {
    return this.environment.runs.history(id);
  }

  async rename(id: string, name: string): Promise<void> {
    await this.environment.runs.update(id, { name });
  }

  /** Forgets a run with its checkpoints. Throws a StorageError while it trains. */
  async delete(id: string): Promise<void> {
    if (this.active?.id === id) throw new StorageError('This run is training; stop it before you delete it.');
    await this.environment.checkpoints(id).deleteAll();
    await this.environment.runs.delete(id);
  }

  private async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.active || this.starting) throw new TrainingError('A run is training already; stop it before another one starts.');
    this.starting = true;
    try {
      return await work();
    } finally {
      this.starting = false;
    }
  }

  private async takeLock(): Promise<Release> {
    const release = await this.environment.lock.take();
    if (!release) throw new TrainingError('A run is training in another tab; stop it there, or wait for its end.');
    return release;
  }

  /** Returns the run's steps; throws where GPU or disk are too small for it. */
  private async requireRoom(plan: PreparedRun): Promise<number> {
    const { memory, budget, verdict, steps, trainableParameters } = await this.planner.forecast(plan);
    if (verdict === 'too big') {
      throw new DeviceError(
        `This run needs ${mib(memory.total)} of GPU memory, and the budget is ${mib(budget)}. Nothing has started; ` +
          'choose a shorter length, fewer rows at once, a smaller adapter or model, or raise the budget.',
      );
    }
    // Parameters and two moments in float32.
    const bytes = checkpointBytes({ all: { byteLength: trainableParameters * 12 } });
    requireCheckpointRoom(bytes, await this.environment.files.free());
    return steps;
  }

  /** The adapter that a recipe starts from, in its shape; null for a fresh one. Throws a HoneError where it is gone, or the two disagree. */
  async initialAdapter({ recipe, model }: PreparedRun): Promise<Adapter | null> {
    const id = recipe.lora?.init_adapter;
    if (id === undefined) return null;
    const { adapter, name } = await this.adapters.load(id, model);
    return startingAdapter(recipe.lora!, adapter, model.source.config, name);
  }

  /** Trains behind; resolves once training has begun, rejects where it could not. */
  private async launch(job: Job, onEvent: (event: RunEvent) => void, release: Release): Promise<void> {
    let begin!: () => void;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const active: Active = { id: job.id, control: new TrainingControl(), onEvent, ended: Promise.resolve() };
    this.active = active;
    const end = this.train(active, job, begin).finally(() => {
      this.active = null;
      this.desk.giveBack();
      release();
    });
    // The page hears of the end once the GPU is free for what it may ask next.
    const told = end.then((last) => active.onEvent(last));
    active.ended = told.catch(() => undefined);
    await Promise.race([begun, told]);
  }

  /** Returns the run's last event; rejects only where training did not begin. */
  private async train(active: Active, { id, plan, initial, resume }: Job, begin: () => void): Promise<RunEvent> {
    const { control } = active;
    const { recipe, model, base, original, prepared } = plan;
    const checkpoints = this.environment.checkpoints(id);
    const gpu = await this.desk.lendToTraining();
    const recorder = new RunRecorder(this.environment.runs, id);
    if (!resume || (await checkpoints.list()).length === 0) await this.environment.runs.truncate(id, -1);
    await this.tell('running', null);
    let hasBegun = false;
    const on = (event: TrainingEvent): void => {
      recorder.on(event);
      if (event.type === 'preparing' || event.type === 'drift') return active.onEvent(event);
      hasBegun = true;
      begin();
      if (event.type === 'step') this.planner.measured(model.id, event.point.tokens_per_second);
      if (event.type !== 'resumed') active.onEvent(event);
    };
    const { train: rows, eval: held, samples, decode, stopIds } = prepared;
    const job = {
      ...{ recipe, model: base, original, train: rows, eval: held, samples, decode, stopIds },
      ...{ initialAdapter: initial, checkpoints: recorder.checkpoints(checkpoints), resume },
    };
    try {
      return await this.finish(id, control, recorder, await train(job, gpu, control, on));
    } catch (error) {
      if (!hasBegun) throw error;
      const lost = await lostDevice(gpu, error);
      // A lost device takes nothing that was saved: the run can go on, which a failed one should not without a change.
      const end = { status: lost ? 'interrupted' : 'failed', message: sentence(lost ?? error) } as const;
      // Where the failure was in writing, writing it down may fail as well; the page is told all the same.
      await recorder.finish(end).catch(() => undefined);
      return { type: 'status', ...end };
    }
  }

  private async finish(id: string, control: TrainingControl, recorder: RunRecorder, outcome: TrainingOutcome): Promise<RunEvent> {
    const end = { status: outcome.finished ? 'done' : 'stopped', message: null } as const;
    await recorder.finish({ ...end, bestStep: outcome.best?.step ?? null });
    if (control.stopping === 'discard' && !outcome.finished) await this.goBack(id);
    return { type: 'status', ...end };
  }

  /** Forgets the steps since the last checkpoint. */
  private async goBack(id: string): Promise<void> {
    const { runs } = this.environment;
    const step = (await this.environment.checkpoints(id).list())[0]?.step ?? 0;
    await runs.truncate(id, step === 0 ? -1 : step);
    const { metrics } = await runs.history(id);
    await runs.update(id, { step, lastLoss: metrics.at(-1)?.loss ?? null });
  }

  private async tell(status: RunStatus, message: string | null): Promise<void> {
    const { active } = this;
    if (!active) return;
    await this.environment.runs.update(active.id, { status, message });
    active.onEvent({ type: 'status', status, message });
  }

  private async record(id: string): Promise<RunRecord> {
    const record = await this.environment.runs.get(id);
    if (!record) throw new StorageError('This run is not kept here any more; start it again from its recipe.');
    return record;
  }
}

/** The error of a lost device, where that is what made training fail: calls under way then fail in words of their own. */
async function lostDevice(gpu: Gpu, error: unknown): Promise<DeviceError | null> {
  if (error instanceof DeviceError) return error;
  const moment = new Promise<null>((resolve) => setTimeout(() => resolve(null), 100));
  const reason = await Promise.race([gpu.lost, moment]);
  return reason === null ? null : new DeviceError(`The GPU was lost (${reason}). Nothing saved is gone; resume from the last checkpoint.`);
}

function sentence(error: unknown): string {
  if (error instanceof HoneError) return error.message;
  return `Something broke that should not: ${error instanceof Error ? error.message : String(error)}. What was saved is safe.`;
}

function newRecord(id: string, name: string, { recipe, model, prepared }: PreparedRun, totalSteps: number): RunRecord {
  return newRun({
    id,
    name,
    recipe,
    modelId: model.id,
    modelName: model.summary.name,
    datasetId: recipe.dataset.path,
    datasetName: prepared.dataset.name,
    totalSteps,
  });
}

function summaryOf(record: RunRecord): RunSummary {
  // A run of an earlier version has no word on settings that came later: their defaults held.
  return { ...record, recipe: parseRecipe(record.recipe), drift: record.drift ?? null };
}
