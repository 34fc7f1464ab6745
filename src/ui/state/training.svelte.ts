import { proxy } from 'comlink';
import type { Drift, MetricPoint, Progress, RecipeInput, RunEvent, RunStatus } from '../../workers/api';
import { formatDuration } from '../format';
import { announcer } from './announcer.svelte';
import { RunRecord } from './run-record.svelte';
import { runs } from './runs.svelte';
import { storage } from './storage.svelte';
import { studio, toFailure, type Failure } from './studio';

/** At most four updates of the page a second, however fast steps arrive. */
const REFRESH_MS = 250;

/** The run that this tab trains, as its events tell it. */
export class LiveRun {
  id = $state('');
  name = $state('');
  status = $state<RunStatus>('running');
  message = $state<string | null>(null);
  preparing = $state.raw<Progress | null>({ label: 'Getting ready', done: 0, total: 0, unit: 'kernels' });
  point = $state.raw<MetricPoint | null>(null);
  totalSteps = $state(0);
  secondsLeft = $state<number | null>(null);
  memory = $state<number | null>(null);
  savedStep = $state(0);
  /** What quantising the base costs, once the start of the run has measured it. */
  drift = $state.raw<Drift | null>(null);
  /** Steps taken since the start or the last resume: speed is known from the fifth on. */
  stepsHere = $state(0);
  readonly record: RunRecord;

  constructor(name: string, record = new RunRecord()) {
    this.name = name;
    this.record = record;
  }

  get share(): number {
    return this.totalSteps > 0 && this.point ? this.point.step / this.totalSteps : 0;
  }

  /** "about 18 min left", or why that cannot be said yet. */
  get timeLeft(): string {
    if (this.stepsHere < 5 || this.secondsLeft === null) return 'Measuring speed';
    return `about ${formatDuration(this.secondsLeft)} left`;
  }
}

type StepEvent = Extract<RunEvent, { type: 'step' }>;

class Training {
  /** The run of this tab, live or just ended; null before the first. */
  live = $state.raw<LiveRun | null>(null);
  failure = $state.raw<Failure | null>(null);
  starting = $state(false);
  private latest: StepEvent | null = null;
  private steps = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private announcedTenth = 0;

  /** The live run, if it is this one. */
  of(id: string): LiveRun | null {
    return this.live?.id === id ? this.live : null;
  }

  /** Whether a run of this tab has the GPU: a paused one keeps it. */
  get busy(): boolean {
    return this.starting || this.live?.status === 'running' || this.live?.status === 'paused';
  }

  /** Starts a run; resolves with its id once training has begun, or null when it could not start. */
  start(recipe: RecipeInput, name: string): Promise<string | null> {
    const live = new LiveRun(name);
    return this.begin(live, async (onEvent) => {
      live.id = await studio.startRun(recipe, name, onEvent);
      runs.adopt(live.id, live.record);
    });
  }

  /** Lets a paused run go on where it stands, or takes a stopped or interrupted one up from its last checkpoint. */
  async resume(id: string): Promise<string | null> {
    const paused = this.of(id);
    if (paused?.status === 'paused') {
      await this.tell(() => studio.resumeRun(id, proxy((event: RunEvent) => this.receive(paused, event))));
      return id;
    }
    const run = runs.get(id);
    const live = new LiveRun(run?.name ?? '', await runs.record(id, true));
    live.id = id;
    live.savedStep = run?.savedStep ?? 0;
    live.totalSteps = run?.totalSteps ?? 0;
    live.point = live.record.metrics.at(-1) ?? null;
    return this.begin(live, (onEvent) => studio.resumeRun(id, onEvent));
  }

  private async begin(live: LiveRun, call: (onEvent: (event: RunEvent) => void) => Promise<void>): Promise<string | null> {
    this.live = live;
    this.failure = null;
    this.starting = true;
    this.latest = null;
    this.steps = 0;
    this.announcedTenth = 0;
    try {
      await storage.askToPersist();
      await call(proxy((event: RunEvent) => this.receive(live, event)));
      await runs.load();
      return live.id;
    } catch (thrown) {
      this.failure = toFailure(thrown);
      announcer.alert(this.failure.message);
      this.live = null;
      await runs.load();
      return null;
    } finally {
      this.starting = false;
    }
  }

  pause(): Promise<void> {
    return this.tell(() => studio.pauseRun());
  }

  /** Ends the training of this tab and shows the run as the store has it: what was discarded is gone from the curve. */
  stop(how: 'keep' | 'discard'): Promise<void> {
    return this.tell(async () => {
      await studio.stopRun(how);
      const { live } = this;
      if (!live) return;
      live.record.replace(await studio.runHistory(live.id));
      live.point = live.record.metrics.at(-1) ?? null;
    });
  }

  /** Tells the run of this tab what to do; what goes wrong is shown, and the run stays as it was. */
  private async tell(call: () => Promise<void>): Promise<void> {
    this.failure = null;
    try {
      await call();
      await runs.load();
    } catch (thrown) {
      this.failure = toFailure(thrown);
      announcer.alert(this.failure.message);
    }
  }

  private receive(live: LiveRun, event: RunEvent): void {
    switch (event.type) {
      case 'preparing':
        live.preparing = event.progress;
        break;
      case 'drift':
        live.drift = event.drift;
        break;
      case 'step':
        live.record.push(event.point);
        this.latest = event;
        this.steps += 1;
        this.refreshSoon(live);
        break;
      case 'eval':
        live.record.pushEval(event.point);
        announcer.say(`Step ${event.point.step}: evaluation loss ${event.point.loss.toFixed(2)}.`);
        this.refreshSoon(live);
        break;
      case 'sample':
        live.record.pushSample(event.point);
        this.refreshSoon(live);
        break;
      case 'saved':
        live.savedStep = event.step;
        announcer.say(`Saved at step ${event.step}.`);
        break;
      case 'status':
        this.changeStatus(live, event.status, event.message);
        break;
    }
  }

  private changeStatus(live: LiveRun, status: RunStatus, message: string | null): void {
    this.refresh(live);
    live.status = status;
    live.message = message;
    if (status !== 'running') live.preparing = null;
    if (status === 'failed') announcer.alert(message ?? 'The run failed.');
    if (status === 'done') announcer.say('Training is done.');
    void runs.load();
  }

  private refreshSoon(live: LiveRun): void {
    this.timer ??= setTimeout(() => this.refresh(live), REFRESH_MS);
  }

  private refresh(live: LiveRun): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.latest) {
      live.preparing = null;
      live.point = this.latest.point;
      live.totalSteps = this.latest.totalSteps;
      live.secondsLeft = this.latest.secondsLeft;
      live.memory = this.latest.memory;
      live.stepsHere = this.steps;
      this.announceTenth(live);
    }
    live.record.version += 1;
  }

  private announceTenth(live: LiveRun): void {
    const tenth = Math.floor(live.share * 10);
    if (tenth <= this.announcedTenth) return;
    this.announcedTenth = tenth;
    announcer.say(`${tenth * 10} percent, ${live.timeLeft}.`);
  }
}

export const training = new Training();
