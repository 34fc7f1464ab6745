import { proxy } from 'comlink';
import { SvelteMap } from 'svelte/reactivity';
import type { Drift, Progress, Recipe } from '../../workers/api';
import { driftWords } from '../drift';
import { announcer } from './announcer.svelte';
import { studio, toFailure, type Failure } from './studio';

/** What quantising a base costs on the rows of the draft on screen, as far as it was measured in this session. */
class BaseDrift {
  progress = $state.raw<Progress | null>(null);
  failure = $state.raw<Failure | null>(null);
  private readonly measured = new SvelteMap<string, Drift>();

  /** What was measured for exactly these rows and this base; null where nothing was. */
  of(recipe: Recipe): Drift | null {
    return this.measured.get(keyOf(recipe)) ?? null;
  }

  async measure(recipe: Recipe): Promise<void> {
    this.failure = null;
    this.progress = { label: 'Comparing', done: 0, total: 0, unit: 'steps' };
    const report = (progress: Progress) => {
      // News of progress may arrive after the answer: the two come through different ports.
      if (this.progress) this.progress = progress;
    };
    try {
      const drift = await studio.measureDrift(recipe, proxy(report));
      this.measured.set(keyOf(recipe), drift);
      announcer.say(driftWords(drift, recipe.quantize_base));
    } catch (thrown) {
      if (!(thrown instanceof Error && thrown.name === 'StoppedError')) this.failure = toFailure(thrown);
    } finally {
      this.progress = null;
    }
  }

  async cancel(): Promise<void> {
    if (this.progress) await studio.stopMeasuring();
  }
}

/** All that the comparison depends on. */
function keyOf({ model, quantize_base, dataset, training }: Recipe): string {
  const { path, format, train_on, eval_fraction } = dataset;
  return JSON.stringify([model, quantize_base, path, format, train_on, eval_fraction, training.max_length]);
}

export const baseDrift = new BaseDrift();
