import type { AdapterSummary } from '../../workers/api';
import { certificates } from './certificates.svelte';
import { runs } from './runs.svelte';
import { storage } from './storage.svelte';
import { studio, toFailure, type Failure } from './studio';

/** Every adapter that this browser has, newest first: runs' and kept ones. */
class Adapters {
  list = $state.raw<AdapterSummary[]>([]);
  loaded = $state(false);
  failure = $state.raw<Failure | null>(null);

  async load(): Promise<void> {
    try {
      this.list = await studio.listAdapters();
      this.failure = null;
    } catch (thrown) {
      this.failure = toFailure(thrown);
    }
    this.loaded = true;
  }

  get(id: string): AdapterSummary | undefined {
    return this.list.find((adapter) => adapter.id === id);
  }

  of(modelId: string): AdapterSummary[] {
    return this.list.filter((adapter) => adapter.modelId === modelId);
  }

  /** Keeps an adapter from files; throws where they do not fit the model. */
  import(files: File[], modelId: string, name: string): Promise<AdapterSummary> {
    return this.changed(studio.importAdapter(files, modelId, name));
  }

  merge(parts: { id: string; weight: number }[], name: string): Promise<AdapterSummary> {
    return this.changed(studio.mergeAdapters(parts, name));
  }

  /** A run's adapter has its run's name. */
  rename({ id, origin }: Pick<AdapterSummary, 'id' | 'origin'>, name: string): Promise<void> {
    return this.changed(origin === 'run' ? runs.rename(id.slice('run:'.length), name) : studio.renameAdapter(id, name));
  }

  remove(id: string): Promise<void> {
    return this.changed(studio.deleteAdapter(id));
  }

  private async changed<T>(call: Promise<T>): Promise<T> {
    await storage.askToPersist();
    const answer = await call;
    await Promise.all([this.load(), storage.load(), certificates.load()]);
    return answer;
  }
}

export const adapters = new Adapters();
