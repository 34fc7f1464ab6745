import { mib } from '../runtime/device';
import type { TrainingEvent } from '../training/events';

/** Milliseconds between two lines of steps; the first and the last are always shown. */
const LINE_EVERY = 1000;

/** A run as lines on a terminal. */
export class StepLines {
  private shown = -Infinity;
  private preparing = '';

  on(event: TrainingEvent): void {
    switch (event.type) {
      case 'preparing': {
        const { label } = event.progress;
        if (label !== this.preparing) console.log(`${label} …`);
        this.preparing = label;
        return;
      }
      case 'drift': {
        const { kl, same, tokens } = event.drift;
        return console.log(
          `The quantised base differs from the original by a mean KL of ${kl.toPrecision(3)} nats over ${tokens} tokens of these rows; ` +
            `its likeliest token is the same at ${(100 * same).toFixed(1)} % of them.`,
        );
      }
      case 'resumed':
        return console.log(`Going on after step ${event.step}.`);
      case 'step': {
        const { point, totalSteps, secondsLeft, memory } = event;
        if (point.step < totalSteps && performance.now() - this.shown < LINE_EVERY) return;
        this.shown = performance.now();
        const left = secondsLeft === null || point.step === totalSteps ? '' : `  ${duration(secondsLeft)} left`;
        return console.log(
          `step ${String(point.step).padStart(String(totalSteps).length)}/${totalSteps}  loss ${point.loss.toFixed(4)}  grad norm ${point.grad_norm.toFixed(3)}` +
            `  rate ${point.learning_rate.toExponential(2)}  ${point.tokens_per_second.toFixed(0)} tokens/s  ${mib(memory)}${left}`,
        );
      }
      case 'eval':
        return console.log(`  held-out loss ${event.point.loss.toFixed(4)} after step ${event.point.step}${event.point.best ? ' (best so far)' : ''}`);
      case 'sample':
        return console.log(`  ${JSON.stringify(event.point.prompt)} → ${JSON.stringify(event.point.text)}`);
      case 'saved':
        return console.log(`  saved at step ${event.step}`);
    }
  }
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
