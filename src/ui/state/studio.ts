import { wrap, type Remote } from 'comlink';
import type { StudioApi } from '../../workers/api';
import StudioWorker from '../../workers/studio.worker?worker&inline';

/**
 * The worker behind the page. It is started from a blob: URL, because only such a worker inherits the
 * page's Content-Security-Policy; it learns the page's address through its name, since its own says nothing.
 */
const worker = new StudioWorker({ name: document.baseURI });

export const studio: Remote<StudioApi> = wrap<StudioApi>(worker);

/** Calls back with a sentence when the worker itself fails to load or throws outside a call. */
export function onWorkerFailure(report: (message: string) => void): void {
  worker.addEventListener('error', (event) => report(event.message || 'The training worker could not be started.'));
}

/** A failure as the page shows it: one sentence, and details that can be copied. */
export interface Failure {
  message: string;
  details: string;
}

/** Whatever was thrown, in the form that an error note shows. */
export function toFailure(thrown: unknown): Failure {
  if (!(thrown instanceof Error)) return { message: String(thrown), details: String(thrown) };
  return { message: thrown.message || thrown.name, details: `${thrown.name}: ${thrown.message}\n${thrown.stack ?? ''}`.trim() };
}
