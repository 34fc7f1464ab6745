import { crc32 } from '../core/checksum';
import { StorageError } from '../core/errors';
import { formatBytes, isOutOfSpace, outOfSpace } from './space';

/** All that a run needs to go on bit for bit from after `step`. */
export interface Checkpoint {
  version: 1;
  /** Optimizer steps done. */
  step: number;
  /** The recipe as JSON. */
  recipe: unknown;
  /** Named arrays, as the engine names them: parameters, first and second moments. */
  arrays: Record<string, Float32Array | Uint8Array>;
  /** The optimizer's own count, for bias correction. */
  optimizerStep: number;
  /** Words of the generator's state. */
  rng: number[];
  /** Next row of the epoch's order. */
  cursor: { epoch: number; index: number };
  /** Metric points kept when this was saved; later ones belong to steps that will be done again. */
  metricsLength: number;
  /** Lowest held-out loss so far and the step that had it. */
  best: { step: number; loss: number } | null;
  /** Seconds of training so far, pauses not counted. */
  seconds: number;
}

export interface CheckpointInfo {
  step: number;
  bytes: number;
  /** This is the step with the lowest held-out loss so far. */
  best: boolean;
  savedAt: number;
}

export interface LoadedCheckpoint {
  checkpoint: Checkpoint;
  /** One sentence for each newer checkpoint that was passed over because it is damaged. */
  damaged: string[];
}

/** One run's checkpoints: the last two and the best. One writer at a time. */
export interface CheckpointStore {
  /**
   * Writes beside the older ones, then counts as saved, then drops what is no longer kept.
   * Those at this step or later (from before a run went back) are dropped as well.
   * Throws a StorageError where there is no room: the older checkpoints are then untouched.
   */
  save(checkpoint: Checkpoint): Promise<void>;
  /**
   * The newest whole checkpoint, or the best one. Null where the run has none.
   * Throws a StorageError where there are some, and every one is damaged.
   */
  load(which: 'last' | 'best'): Promise<LoadedCheckpoint | null>;
  /** Newest first; contents not checked. */
  list(): Promise<CheckpointInfo[]>;
  deleteAll(): Promise<void>;
}

/**
 * Where a checkpoint store keeps its named parts. `write` is all or nothing for one key, and is
 * on disk (as far as the platform promises that) when it resolves.
 */
export interface PartStore {
  keys(): Promise<string[]>;
  read(key: string): Promise<Uint8Array | undefined>;
  write(key: string, bytes: Uint8Array): Promise<void>;
  remove(keys: string[]): Promise<void>;
  /** Bytes that may still be written, or null where unknown. */
  free(): Promise<number | null>;
}

/** Arrays are cut into parts of this size: browsers limit the size of one value, and copies stay small. */
const PART_BYTES = 16 * 1024 * 1024;

interface ArrayEntry {
  name: string;
  type: 'f32' | 'u8';
  parts: { key: string; bytes: number; crc: number }[];
}
interface Manifest extends Omit<Checkpoint, 'arrays'> {
  arrays: ArrayEntry[];
  savedAt: number;
}
interface Saved {
  generation: number;
  key: string;
  manifest: Manifest;
}

/**
 * The store's rules over any PartStore. Parts are written under new keys (`00000007.params.0`), the small
 * manifest (`00000007.manifest`) last: a checkpoint exists once its manifest does. The manifest holds a
 * checksum of itself and of each part, so half-written and damaged ones are known from whole ones.
 */
export class Checkpoints implements CheckpointStore {
  /** Manifests whose parts `load` found damaged: the next save does not count them among those to keep. */
  private readonly broken = new Set<string>();
  constructor(private readonly parts: PartStore) {}

  async save(checkpoint: Checkpoint): Promise<void> {
    const saved = (await this.manifests()).saved.filter(({ key }) => !this.broken.has(key));
    const generation = nextGeneration(await this.parts.keys());
    const bytes = checkpointBytes(checkpoint.arrays);
    const free = await this.parts.free();
    const safe = saved[0] ? `The one of step ${saved[0].manifest.step} is safe.` : 'Nothing was lost.';
    if (free !== null && free < bytes) throw outOfSpace('A checkpoint', bytes, free, safe);
    try {
      const manifest: Manifest = { ...checkpoint, arrays: await this.writeArrays(generation, checkpoint), savedAt: Date.now() };
      await this.parts.write(manifestKey(generation), encodeManifest(manifest));
      await this.removeAllBut(kept([{ generation, key: manifestKey(generation), manifest }, ...saved]));
    } catch (error) {
      if (!isOutOfSpace(error)) throw error;
      await this.removeAllBut(saved);
      throw outOfSpace('A checkpoint', bytes, free, safe);
    }
  }

  async load(which: 'last' | 'best'): Promise<LoadedCheckpoint | null> {
    const { saved, damaged } = await this.manifests();
    const candidates = which === 'best' ? bestFirst(saved) : saved;
    for (const one of candidates) {
      const checkpoint = await this.readWhole(one.manifest);
      if (typeof checkpoint !== 'string') return { checkpoint, damaged };
      damaged.push(checkpoint);
      this.broken.add(one.key);
    }
    if (damaged.length === 0) return null;
    throw new StorageError(`No checkpoint of this run is whole. ${damaged.join(' ')} Start the run again.`);
  }

  async list(): Promise<CheckpointInfo[]> {
    const { saved } = await this.manifests();
    const best = saved[0]?.manifest.best?.step;
    return saved.map(({ manifest }) => ({
      step: manifest.step,
      bytes: manifest.arrays.reduce((sum, array) => sum + totalBytes(array), 0),
      best: manifest.step === best,
      savedAt: manifest.savedAt,
    }));
  }

  async deleteAll(): Promise<void> {
    await this.removeAllBut([]);
  }

  private async writeArrays(generation: number, checkpoint: Checkpoint): Promise<ArrayEntry[]> {
    const entries: ArrayEntry[] = [];
    for (const [name, array] of Object.entries(checkpoint.arrays)) {
      const entry: ArrayEntry = { name, type: array instanceof Float32Array ? 'f32' : 'u8', parts: [] };
      for (let at = 0; at < array.byteLength; at += PART_BYTES) {
        const length = Math.min(PART_BYTES, array.byteLength - at);
        const part = new Uint8Array(array.buffer, array.byteOffset + at, length);
        const key = `${stem(generation)}.${entries.length}.${entry.parts.length}`;
        await this.parts.write(key, part);
        entry.parts.push({ key, bytes: length, crc: crc32(part) });
      }
      entries.push(entry);
    }
    return entries;
  }

  /** The checkpoint, or a sentence saying why it is not whole. */
  private async readWhole(manifest: Manifest): Promise<Checkpoint | string> {
    const arrays: Checkpoint['arrays'] = {};
    for (const entry of manifest.arrays) {
      const bytes = new Uint8Array(totalBytes(entry));
      let at = 0;
      for (const part of entry.parts) {
        const found = await this.parts.read(part.key);
        if (!found) return `The checkpoint of step ${manifest.step} lacks a part of ${entry.name}.`;
        if (found.length !== part.bytes || crc32(found) !== part.crc) {
          return `The checkpoint of step ${manifest.step} is damaged in ${entry.name}.`;
        }
        bytes.set(found, at);
        at += found.length;
      }
      arrays[entry.name] = entry.type === 'f32' ? new Float32Array(bytes.buffer) : bytes;
    }
    const { version, step, recipe, optimizerStep, rng, cursor, metricsLength, best, seconds } = manifest;
    return { version, step, recipe, arrays, optimizerStep, rng, cursor, metricsLength, best, seconds };
  }

  /** What is saved, newest first, with a sentence for each manifest that cannot be read. */
  private async manifests(): Promise<{ saved: Saved[]; damaged: string[] }> {
    const saved: Saved[] = [];
    const damaged: string[] = [];
    for (const key of (await this.parts.keys()).sort().reverse()) {
      if (!key.endsWith('.manifest')) continue;
      const bytes = await this.parts.read(key);
      const manifest = bytes && decodeManifest(bytes);
      if (manifest) saved.push({ generation: Number.parseInt(key, 10), key, manifest });
      else damaged.push(`A checkpoint's list of contents (${key}) is damaged.`);
    }
    return { saved, damaged };
  }

  private async removeAllBut(keep: Saved[]): Promise<void> {
    const partKeys = (manifest: Manifest) => manifest.arrays.flatMap((array) => array.parts.map((part) => part.key));
    const wanted = new Set(keep.flatMap(({ key, manifest }) => [key, ...partKeys(manifest)]));
    const unwanted = (await this.parts.keys()).filter((key) => !wanted.has(key));
    // Manifests first: a crash in between leaves parts without a manifest, never a manifest without parts.
    const isManifest = (key: string) => key.endsWith('.manifest');
    await this.parts.remove(unwanted.filter(isManifest));
    await this.parts.remove(unwanted.filter((key) => !isManifest(key)));
  }
}

/** Bytes a checkpoint of these arrays will take, for a forecast before the run. */
export function checkpointBytes(arrays: Record<string, { byteLength: number }>): number {
  return Object.values(arrays).reduce((sum, array) => sum + array.byteLength, 0);
}

/**
 * Throws a StorageError before a run that could not save: a new checkpoint is written while up to three
 * older ones (two and the best) are kept. `free` null means unknown, which lets the run start.
 */
export function requireCheckpointRoom(bytes: number, free: number | null): void {
  if (free !== null && free < 4 * bytes) {
    throw new StorageError(
      `This run's checkpoints need ${formatBytes(4 * bytes)} (four of ${formatBytes(bytes)}), ${formatBytes(free)} are free. ` +
        'Nothing has started: free space (delete models or old runs), or choose a smaller adapter.',
    );
  }
}

/** Of all saved (newest first): the last two and the best, none from steps that are being done again. */
function kept(saved: Saved[]): Saved[] {
  const [newest, ...older] = saved as [Saved, ...Saved[]];
  const past = older.filter(({ manifest }) => manifest.step < newest.manifest.step);
  const bestStep = newest.manifest.best?.step;
  return [newest, ...past.filter(({ manifest }, index) => index === 0 || manifest.step === bestStep)];
}

function bestFirst(saved: Saved[]): Saved[] {
  const bestStep = saved[0]?.manifest.best?.step;
  return [...saved.filter(({ manifest }) => manifest.step === bestStep), ...saved.filter(({ manifest }) => manifest.step !== bestStep)];
}

const stem = (generation: number) => String(generation).padStart(8, '0');
const manifestKey = (generation: number) => `${stem(generation)}.manifest`;
const totalBytes = (entry: ArrayEntry) => entry.parts.reduce((sum, part) => sum + part.bytes, 0);

function nextGeneration(keys: string[]): number {
  return keys.reduce((highest, key) => Math.max(highest, Number.parseInt(key, 10)), 0) + 1;
}

/** Two lines: the CRC-32 of the second in hexadecimal, and the manifest as JSON. */
function encodeManifest(manifest: Manifest): Uint8Array {
  const json = JSON.stringify(manifest);
  return new TextEncoder().encode(`${crc32(new TextEncoder().encode(json)).toString(16)}\n${json}`);
}

function decodeManifest(bytes: Uint8Array): Manifest | null {
  const text = new TextDecoder().decode(bytes);
  const end = text.indexOf('\n');
  const json = text.slice(end + 1);
  if (end < 1 || crc32(new TextEncoder().encode(json)) !== Number.parseInt(text.slice(0, end), 16)) return null;
  const manifest = JSON.parse(json) as Manifest;
  if (manifest.version !== 1) {
    throw new StorageError(
      `The checkpoint of step ${manifest.step} has version ${String(manifest.version)}, ` +
        'and this Hone reads version 1; open the run with the newer Hone.',
    );
  }
  return manifest;
}

/** Parts in memory: for tests, and for runs that need not outlive their process. */
export class MemoryParts implements PartStore {
  private readonly parts = new Map<string, Uint8Array>();
  keys(): Promise<string[]> {
    return Promise.resolve([...this.parts.keys()]);
  }
  read(key: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.parts.get(key)?.slice());
  }
  write(key: string, bytes: Uint8Array): Promise<void> {
    this.parts.set(key, bytes.slice());
    return Promise.resolve();
  }
  remove(keys: string[]): Promise<void> {
    for (const key of keys) this.parts.delete(key);
    return Promise.resolve();
  }
  free(): Promise<number | null> {
    return Promise.resolve(null);
  }
}
