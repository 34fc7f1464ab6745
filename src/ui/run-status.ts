import type { RunStatus, RunSummary } from '../workers/api';

/** A run's status as a person would say it. */
export function statusWords(status: RunStatus): string {
  switch (status) {
    case 'running':
      return 'Training';
    case 'paused':
      return 'Paused';
    case 'stopped':
      return 'Stopped';
    case 'interrupted':
      return 'Interrupted';
    case 'done':
      return 'Done';
    case 'failed':
      return 'Failed';
  }
}

/** Whether a run that is not training can go on from a checkpoint. */
export function canResume(run: RunSummary): boolean {
  return run.status !== 'running' && run.status !== 'done' && run.savedStep > 0 && run.savedStep < run.totalSteps;
}

/** Why a run that is not done stands still, and what of it is safe. */
export function standstill(run: RunSummary): string {
  const saved = run.savedStep > 0 ? `Saved up to ${run.savedStep}.` : 'Nothing was saved yet.';
  switch (run.status) {
    case 'interrupted':
      return run.message ? `${run.message} ${saved}` : `Stopped at step ${run.step} when the page closed. ${saved}`;
    case 'paused':
      return `Paused at step ${run.step}. ${saved}`;
    case 'failed':
      return `${run.message ?? `Failed at step ${run.step}.`} ${saved}`;
    case 'stopped':
      return `Stopped at step ${run.step}. ${saved}`;
    case 'running':
      return 'This run is training in another tab.';
    case 'done':
      return 'Done.';
  }
}
