import type { RunRecord } from '../state/run-record.svelte';

export type XAxis = 'step' | 'tokens' | 'seconds';

export const X_NAMES: Record<XAxis, string> = { step: 'Step', tokens: 'Trained tokens', seconds: 'Seconds' };

/** Columns of one chart: x first, then a column a series; null where a series has no point, which draws a gap. */
export type ChartData = [x: number[], ...series: (number | null)[][]];

type Metric = 'learning_rate' | 'grad_norm' | 'tokens_per_second';

/** The x value of every metric point: its step, the tokens trained so far, or the seconds so far. */
function positions(record: RunRecord, axis: XAxis): number[] {
  let tokens = 0;
  return record.metrics.map((point) => {
    tokens += point.tokens;
    return axis === 'step' ? point.step : axis === 'tokens' ? tokens : point.seconds;
  });
}

const drawable = (value: number) => (Number.isFinite(value) ? value : null);

/** One measured quantity over the run. */
export function metricData(record: RunRecord, metric: Metric, axis: XAxis): ChartData {
  return [positions(record, axis), record.metrics.map((point) => drawable(point[metric]))];
}

/** Raw loss, smoothed loss and evaluation loss. Evaluations before the first step stand at x = 0. */
export function lossData(record: RunRecord, axis: XAxis): ChartData {
  const x = positions(record, axis);
  const raw = record.metrics.map((point) => drawable(point.loss));
  const smooth = record.smoothed.map(drawable);
  const evals = new Map(record.evals.map((point) => [point.step, drawable(point.loss)]));
  const evaluation = record.metrics.map((point) => evals.get(point.step) ?? null);
  const before = evals.get(0);
  if (before !== undefined && record.metrics[0]?.step !== 0) {
    return [
      [0, ...x],
      [null, ...raw],
      [null, ...smooth],
      [before, ...evaluation],
    ];
  }
  return [x, raw, smooth, evaluation];
}

/** What the loss chart shows, in a sentence for those who do not see it. */
export function lossSentence(record: RunRecord): string {
  const finite = record.smoothed.filter(Number.isFinite);
  if (finite.length < 2) return 'No loss yet.';
  const first = record.metrics.find((point) => Number.isFinite(point.loss))!.loss;
  const last = finite.at(-1)!;
  const direction = last < first ? 'fell' : 'rose';
  const best = record.evals.filter((point) => point.best).at(-1);
  const evaluation = best ? ` Best evaluation ${best.loss.toFixed(2)} at step ${best.step}.` : '';
  return `Loss ${direction} from ${first.toFixed(2)} to ${last.toFixed(2)} over ${record.metrics.length} steps.${evaluation}`;
}

/** Every series of a run as CSV, a line a step, with its raw step, tokens and seconds. */
export function metricsCsv(record: RunRecord): string {
  const evals = new Map(record.evals.map((point) => [point.step, point.loss]));
  const lines = ['step,tokens,seconds,epoch,loss,loss_smoothed,eval_loss,learning_rate,grad_norm,tokens_per_second'];
  let tokens = 0;
  record.metrics.forEach((point, index) => {
    tokens += point.tokens;
    const { step, seconds, epoch, loss, learning_rate, grad_norm, tokens_per_second } = point;
    const evaluation = evals.get(step) ?? '';
    lines.push([step, tokens, seconds, epoch, loss, record.smoothed[index], evaluation, learning_rate, grad_norm, tokens_per_second].join(','));
  });
  return lines.join('\n') + '\n';
}

/** Smoothed losses of several runs over their common steps. */
export function compareData(records: RunRecord[]): ChartData {
  const steps = [...new Set(records.flatMap((record) => record.metrics.map((point) => point.step)))].sort((a, b) => a - b);
  const series = records.map((record) => {
    const losses = new Map(record.metrics.map((point, index) => [point.step, drawable(record.smoothed[index] ?? NaN)]));
    return steps.map((step) => losses.get(step) ?? null);
  });
  return [steps, ...series];
}
