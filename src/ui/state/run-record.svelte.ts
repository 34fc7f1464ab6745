import type { EvalPoint, MetricPoint, RunHistory, SamplePoint } from '../../workers/api';

/** How much of the old value the smoothed loss keeps at each step. */
export const SMOOTHING = 0.6;

/**
 * Everything a run has reported. The arrays grow in place and are not reactive: whoever shows them
 * reads `version`, which moves at most four times a second.
 */
export class RunRecord {
  metrics: MetricPoint[] = [];
  evals: EvalPoint[] = [];
  samples: SamplePoint[] = [];
  /** Bias-corrected exponential average of the loss, one value a metric; broken losses do not enter it. */
  smoothed: number[] = [];
  version = $state(0);
  private average = 0;
  private weight = 0;

  replace(history: RunHistory): void {
    this.metrics = [];
    this.smoothed = [];
    this.average = 0;
    this.weight = 0;
    this.evals = [...history.evals];
    this.samples = [...history.samples];
    for (const point of history.metrics) this.push(point);
    this.version += 1;
  }

  /** Appends a step. Steps that a resumed run does again replace what was there. */
  push(point: MetricPoint): void {
    if ((this.metrics.at(-1)?.step ?? -1) >= point.step) this.rewind(point.step);
    if (Number.isFinite(point.loss)) {
      this.average = SMOOTHING * this.average + (1 - SMOOTHING) * point.loss;
      this.weight = SMOOTHING * this.weight + (1 - SMOOTHING);
    }
    this.metrics.push(point);
    this.smoothed.push(this.weight === 0 ? NaN : this.average / this.weight);
  }

  pushEval(point: EvalPoint): void {
    this.evals = [...this.evals.filter((other) => other.step !== point.step), point];
  }

  pushSample(point: SamplePoint): void {
    const same = (other: SamplePoint) => other.step === point.step && other.prompt === point.prompt;
    this.samples = [...this.samples.filter((other) => !same(other)), point];
  }

  /** Forgets `step` and everything after it. */
  rewind(step: number): void {
    const kept = this.metrics.filter((point) => point.step < step);
    const { evals, samples } = this;
    this.replace({
      metrics: kept,
      evals: evals.filter((point) => point.step < step),
      samples: samples.filter((point) => point.step < step),
    });
  }
}
