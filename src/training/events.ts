import type { Progress } from '../core/progress';
import type { Drift, EvalPoint, MetricPoint, SamplePoint } from '../core/metrics';
export type { EvalPoint, MetricPoint, SamplePoint } from '../core/metrics';

/** What a run tells as it goes. */
export type TrainingEvent =
  | { type: 'preparing'; progress: Progress }
  /** What quantising the base costs on the run's own rows, before anything is trained. */
  | { type: 'drift'; drift: Drift }
  /** A run goes on after this step: points past it are about to be made again. */
  | { type: 'resumed'; step: number }
  | { type: 'step'; point: MetricPoint; totalSteps: number; secondsLeft: number | null; memory: number }
  | { type: 'eval'; point: EvalPoint }
  | { type: 'sample'; point: SamplePoint }
  | { type: 'saved'; step: number };

/** How a person steers a run that goes on elsewhere. */
export class TrainingControl {
  private waiting: (() => void) | null = null;
  private gate: Promise<void> | null = null;
  /** What to do with the steps since the last checkpoint, once stopped. */
  stopping: 'keep' | 'discard' | null = null;

  pause(): void {
    this.gate ??= new Promise((resolve) => (this.waiting = resolve));
  }

  resume(): void {
    this.waiting?.();
    this.gate = null;
    this.waiting = null;
  }

  stop(how: 'keep' | 'discard'): void {
    this.stopping = how;
    this.resume();
  }

  get paused(): boolean {
    return this.gate !== null;
  }

  /** Waits while paused. */
  async open(): Promise<void> {
    while (this.gate) await this.gate;
  }
}
