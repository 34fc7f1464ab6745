/** One tab trains, others watch: Web Locks, which end with the tab that holds them, however it ends. */
import { StorageError } from '../core/errors';

/** Name of the lock that whoever trains holds: one GPU, one training at a time. */
export const TRAINING_LOCK = 'hone-training';

/** Lets a held lock go. */
export type Release = () => void;

function locks(): LockManager {
  if (typeof navigator !== 'undefined' && 'locks' in navigator) return navigator.locks;
  throw new StorageError('This browser cannot keep two tabs apart (no Web Locks); open this page over https, or in a current browser.');
}

/** Takes the lock where it is free, and returns how to let it go; null where another tab (or worker) holds it. */
export function tryLock(name = TRAINING_LOCK): Promise<Release | null> {
  return new Promise((resolve, reject) => {
    locks()
      .request(name, { ifAvailable: true }, (lock) => (lock ? held(resolve) : resolve(null)))
      .catch(reject);
  });
}

/** Takes the lock once it is free: for a tab that watches until the one that trains is closed. Rejects when aborted. */
export function waitForLock(signal: AbortSignal, name = TRAINING_LOCK): Promise<Release> {
  return new Promise((resolve, reject) => {
    locks()
      .request(name, { signal }, () => held(resolve))
      .catch(reject);
  });
}

/** True where some tab holds the lock. */
export async function isLocked(name = TRAINING_LOCK): Promise<boolean> {
  const { held: taken = [] } = await locks().query();
  return taken.some((lock) => lock.name === name);
}

/** Hands out the release, and keeps the lock until it is called. */
function held(give: (release: Release) => void): Promise<void> {
  return new Promise((release) => give(release));
}
