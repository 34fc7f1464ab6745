import type { ModelSummary, StorageReport } from '../../workers/api';
import { studio, toFailure, type Failure } from './studio';

/** What this browser keeps for Hone: models, data sets and runs with their sizes. */
class Storage {
  report = $state.raw<StorageReport | null>(null);
  models = $state.raw<ModelSummary[]>([]);
  failure = $state.raw<Failure | null>(null);
  /** The browser's answer to the request not to evict; null until asked. */
  persisted = $state<boolean | null>(null);

  async load(): Promise<void> {
    try {
      const [report, models] = await Promise.all([studio.storage(), studio.listModels()]);
      this.report = report;
      this.models = models;
      this.failure = null;
      if (report.persisted) this.persisted = true;
    } catch (thrown) {
      this.failure = toFailure(thrown);
    }
  }

  /** Asks the browser, once a visit, not to delete what Hone keeps. Only a window may ask, not a worker. */
  async askToPersist(): Promise<void> {
    if (this.persisted !== null) return;
    this.persisted = (await navigator.storage?.persist?.()) ?? false;
  }
}

export const storage = new Storage();
