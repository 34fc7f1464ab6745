import { checkRange, type ByteSink, type ByteSource } from '../core/bytes';
import { StorageError } from '../core/errors';
import type { OnProgress } from '../core/progress';
import { formatBytes, isOutOfSpace, outOfSpace } from './space';

/** Bytes copied at a time. */
const COPY_BYTES = 4 * 1024 * 1024;

export interface StoredFile {
  /** What the file belongs to: a model's or data set's id. */
  group: string;
  name: string;
  /** Bytes kept so far. */
  bytes: number;
  /** Bytes of the whole file, where known. */
  total: number | null;
  /** What names this version of the file (a hash, an ETag): bytes of another version are never added to it. */
  tag: string | null;
  /** Only a complete file can be opened. */
  complete: boolean;
}

/** A file being written. `abort` keeps what arrived, so that it can be continued; it cannot be opened before `close`. */
export interface FileWriter extends ByteSink {
  /** Bytes already there: the next write goes here. */
  readonly position: number;
}

export interface WriteOptions {
  total?: number;
  tag?: string;
}

export interface PutOptions {
  tag?: string;
  onProgress?: OnProgress;
  signal?: AbortSignal;
}

/** Large files kept for later: models and data sets. */
export interface FileStore {
  list(): Promise<StoredFile[]>;
  /** The file's state, or null where nothing of it is kept. */
  find(group: string, name: string): Promise<StoredFile | null>;
  /** How much of an unfinished file is there, or null. */
  partial(group: string, name: string): Promise<StoredFile | null>;
  /** The bytes of an unfinished file, for checking them before going on; null where there is none. */
  readPartial(group: string, name: string): Promise<ByteSource | null>;
  /**
   * Starts a file, or continues an unfinished one of the same tag and total at its `position`; anything else
   * under this name is replaced. A StorageError where there is no room for `total`.
   */
  write(group: string, name: string, options?: WriteOptions): Promise<FileWriter>;
  /** Copies a whole source; continues an unfinished copy where `tag` is given and the same. */
  put(group: string, name: string, source: ByteSource, options?: PutOptions): Promise<void>;
  /** A complete file for reading; a StorageError where it is absent or unfinished. */
  open(group: string, name: string): Promise<ByteSource>;
  /** Deletes a file, or the whole group. Nothing happens where there is none. */
  delete(group: string, name?: string): Promise<void>;
  /** Bytes that may still be written, or null where unknown. */
  free(): Promise<number | null>;
}

/** The few calls that a place for files must offer. Paths are lists of safe names. */
export interface FileMedium {
  /** Names in a folder; none where it is absent. */
  names(folder: readonly string[]): Promise<string[]>;
  /** Null where the file is absent. */
  read(path: readonly string[]): Promise<ByteSource | null>;
  /** Opens for adding bytes from `at` on, dropping those after; makes folders as needed. */
  append(path: readonly string[], at: number): Promise<MediumWriter>;
  /** Deletes a file, or a folder with all in it. */
  remove(path: readonly string[]): Promise<void>;
  free(): Promise<number | null>;
}
export interface MediumWriter {
  write(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

type Note = Omit<StoredFile, 'group' | 'bytes'>;

/**
 * The store's rules over any FileMedium: the bytes under GROUP/data/NAME, and beside them GROUP/note/NAME, a small
 * JSON note that says whether they are complete. The note is written before the first byte and after the last.
 */
export class Files implements FileStore {
  constructor(private readonly medium: FileMedium) {}

  async list(): Promise<StoredFile[]> {
    const files: StoredFile[] = [];
    for (const group of await this.medium.names([])) {
      for (const name of await this.medium.names([group, 'note'])) {
        const file = await this.find(decodeURIComponent(group), decodeURIComponent(name));
        if (file) files.push(file);
      }
    }
    return files.sort((a, b) => (a.group + a.name < b.group + b.name ? -1 : 1));
  }

  async find(group: string, name: string): Promise<StoredFile | null> {
    const source = await this.medium.read(notePath(group, name));
    const note = source && parseNote(await source.read(0, source.size));
    if (!note) return null;
    const bytes = note.complete && note.total !== null ? note.total : ((await this.medium.read(dataPath(group, name)))?.size ?? 0);
    return { group, ...note, bytes };
  }

  async partial(group: string, name: string): Promise<StoredFile | null> {
    const file = await this.find(group, name);
    return file && !file.complete ? file : null;
  }

  async readPartial(group: string, name: string): Promise<ByteSource | null> {
    const source = (await this.partial(group, name)) && (await this.medium.read(dataPath(group, name)));
    return source && named(source, name);
  }

  async write(group: string, name: string, { total, tag }: WriteOptions = {}): Promise<FileWriter> {
    const before = await this.partial(group, name);
    // Without a tag nothing is continued: undefined is never the tag of a note.
    const sameFile = before !== null && before.tag === tag && before.total === (total ?? null);
    const position = sameFile && (total === undefined || before.bytes <= total) ? before.bytes : 0;
    const note: Note = { name, total: total ?? null, tag: tag ?? null, complete: false };
    if (!sameFile) await this.delete(group, name);
    const free = await this.medium.free();
    if (total !== undefined && free !== null && free < total - position) {
      throw outOfSpace(name, total - position, free, 'Nothing was lost.');
    }
    await this.writeNote(group, note);
    const writer = await this.medium.append(dataPath(group, name), position);
    return new Writer(writer, position, note, (complete) => this.writeNote(group, complete));
  }

  async put(
    group: string,
    name: string,
    source: ByteSource,
    { tag, onProgress, signal }: PutOptions = {},
  ): Promise<void> {
    const writer = await this.write(group, name, { total: source.size, ...(tag === undefined ? {} : { tag }) });
    const progress = () => onProgress?.({ label: `Keeping ${name}`, done: writer.position, total: source.size, unit: 'bytes' });
    try {
      progress();
      while (writer.position < source.size) {
        if (signal?.aborted) {
          throw new StorageError(
            `Keeping ${name} was stopped at ${formatBytes(writer.position)} ` +
              `of ${formatBytes(source.size)}; open the file again to go on.`,
          );
        }
        await writer.write(await source.read(writer.position, Math.min(COPY_BYTES, source.size - writer.position)));
        progress();
      }
    } catch (error) {
      await writer.abort(error);
      throw error;
    }
    await writer.close();
  }

  async open(group: string, name: string): Promise<ByteSource> {
    const file = await this.find(group, name);
    if (file?.complete) {
      const source = await this.medium.read(dataPath(group, name));
      if (source && source.size === file.bytes) return named(source, name);
      await this.delete(group, name);
      throw new StorageError(
        `${name} was kept with ${formatBytes(file.bytes)}, of which ${formatBytes(source?.size ?? 0)} ` +
          'are left; the browser may have cleared it: open or download it again.',
      );
    }
    throw new StorageError(
      file
        ? `${name} is here only in part (${formatBytes(file.bytes)}); continue the download, or open the file again.`
        : `${name} is not kept here; open or download it again.`,
    );
  }

  async delete(group: string, name?: string): Promise<void> {
    if (name === undefined) return this.medium.remove([safe(group)]);
    // The note first: bytes without a note count as nothing, a note without bytes would count as a file.
    await this.medium.remove(notePath(group, name));
    await this.medium.remove(dataPath(group, name));
  }

  free(): Promise<number | null> {
    return this.medium.free();
  }

  private async writeNote(group: string, note: Note): Promise<void> {
    const writer = await this.medium.append(notePath(group, note.name), 0);
    await writer.write(new TextEncoder().encode(JSON.stringify(note)));
    await writer.close();
  }
}

class Writer implements FileWriter {
  private open = true;
  constructor(
    private readonly medium: MediumWriter,
    public position: number,
    private readonly note: Note,
    private readonly finish: (note: Note) => Promise<void>,
  ) {}

  async write(bytes: Uint8Array): Promise<void> {
    const { name, total } = this.note;
    if (total !== null && this.position + bytes.length > total) {
      throw new StorageError(`${name} has more than the ${total} bytes it was announced with; download or open it again.`);
    }
    try {
      await this.medium.write(bytes);
    } catch (error) {
      if (!isOutOfSpace(error)) throw error;
      const needed = total === null ? bytes.length : total - this.position;
      throw outOfSpace(name, needed, null, 'What arrived is kept.');
    }
    this.position += bytes.length;
  }

  async close(): Promise<void> {
    await this.abort();
    const { name, total } = this.note;
    if (total !== null && this.position !== total) {
      throw new StorageError(`${name} ends after ${this.position} of ${total} bytes; continue or repeat the download.`);
    }
    await this.finish({ ...this.note, total: this.position, complete: true });
  }

  async abort(): Promise<void> {
    if (!this.open) return;
    this.open = false;
    await this.medium.close();
  }
}

/** A name that every file system takes: percent-encoded, also where encodeURIComponent leaves a character alone. */
function safe(name: string): string {
  const encoded = encodeURIComponent(name).replace(/[!'()*~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
  return /^\.*$/.test(encoded) ? encoded.replaceAll('.', '%2E') : encoded;
}
const dataPath = (group: string, name: string) => [safe(group), 'data', safe(name)];
const notePath = (group: string, name: string) => [safe(group), 'note', safe(name)];

/** Null where a note is torn: its file then counts as not there. */
function parseNote(bytes: Uint8Array): Note | null {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Note;
  } catch {
    return null;
  }
}

/** The same bytes under the name they were put by. */
function named(source: ByteSource, name: string): ByteSource {
  const renamed: ByteSource = {
    name,
    size: source.size,
    async read(offset, length) {
      checkRange(renamed, offset, length);
      return source.read(offset, length);
    },
  };
  return renamed;
}
