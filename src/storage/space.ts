import { StorageError } from '../core/errors';

/** "106 MB", "1.2 GB": decimal units, as disks and browsers count. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** True for the errors by which browsers (quota) and Node (full disk) say that there is no room. */
export function isOutOfSpace(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { name, code } = error as { name?: unknown; code?: unknown };
  return name === 'QuotaExceededError' || code === 'ENOSPC' || code === 'EDQUOT';
}

/**
 * The sentence for a full store. `what` is a noun with its article: "A checkpoint".
 * `free` is what the browser or disk says is left, or null where it does not say.
 */
export function outOfSpace(what: string, needed: number, free: number | null, safe: string): StorageError {
  // A quota can refuse bytes that its own estimate counts as free: then the estimate is not worth repeating.
  const left = free === null || free >= needed ? 'the browser or disk has no more room' : `${formatBytes(Math.max(0, free))} are free`;
  return new StorageError(`${what} needs ${formatBytes(needed)}, ${left}. ${safe} Free space (delete models or old runs) and try again.`);
}

/** Bytes the browser will still let this page keep, or null where it does not tell. */
export async function freeBytes(): Promise<number | null> {
  if (typeof navigator === 'undefined' || !('storage' in navigator)) return null;
  const { quota, usage } = await navigator.storage.estimate();
  return quota === undefined || usage === undefined ? null : Math.max(0, quota - usage);
}
