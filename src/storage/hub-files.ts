/** Repositories of the Hugging Face hub: what is in them, and their model files, kept in a FileStore. */
import type { ByteSource } from '../core/bytes';
import { HubError } from '../core/errors';
import type { OnProgress } from '../core/progress';
import { Sha256 } from '../core/sha256';
import type { FileStore, FileWriter } from './files';
import { HUB_ENDPOINT, Transient, type Answer, type Connection } from './hub';
import { formatBytes } from './space';

/** A file of a repository, as its tree lists it. */
export interface HubEntry {
  path: string;
  bytes: number;
  /** Of large files (LFS); null for small ones. */
  sha256: string | null;
  /** Names this version of the file: its SHA-256, or git's own hash. */
  tag: string;
}

export interface Repository {
  id: string;
  revision?: string | undefined;
  endpoint?: string | undefined;
}

export interface DownloadOptions {
  connection: Connection;
  store: FileStore;
  revision?: string;
  /** One GGUF file of the repository; left out: config.json, safetensors and tokenizer files. */
  file?: string;
  endpoint?: string;
  onProgress?: OnProgress;
  signal?: AbortSignal;
}

/** A model in the store: all its files are complete under `group`. */
export interface DownloadedModel {
  group: string;
  name: string;
  files: string[];
}

/** Small files that belong to a safetensors model, where the repository has them. */
const SMALL_FILES = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
];
const INDEX = 'model.safetensors.index.json';
const WHOLE = 'model.safetensors';

/** Longest tree page and index that are read: a tree entry takes about 300 bytes, a page has at most 1,000. */
const TEXT_LIMIT = 16 * 1024 * 1024;
const MOST_PAGES = 100;
/** Times that a file may change on the hub while it is being downloaded. */
const MOST_CHANGES = 3;

/** The store's group for a model of the hub. */
export function hubGroup(id: string, revision = 'main', file?: string): string {
  return `hub:${id}@${revision}${file === undefined ? '' : `:${file}`}`;
}

/** Every file of a repository at a revision, folders included. Throws HubError. */
export async function listHubFiles(connection: Connection, repository: Repository, signal?: AbortSignal): Promise<HubEntry[]> {
  const { id, revision = 'main', endpoint = HUB_ENDPOINT } = repository;
  if (!/^[\w.-]+(\/[\w.-]+)?$/.test(id) || id.split('/').some((part) => /^\.+$/.test(part))) {
    throw new HubError(`"${id}" is not a hub id; it should look like HuggingFaceTB/SmolLM2-135M-Instruct.`);
  }
  const reason = `list of files of ${id}`;
  const entries: HubEntry[] = [];
  let url: string | null = `${endpoint}/api/models/${id}/tree/${encodeURIComponent(revision)}?recursive=true`;
  for (let page = 0; url !== null; page++) {
    if (page === MOST_PAGES) {
      throw new HubError(`${id} has more than ${MOST_PAGES} pages of files; download the model by hand and open it here.`);
    }
    const { text, headers }: { text: string; headers: Headers } = await connection.text(url, TEXT_LIMIT, { reason, signal });
    entries.push(...parseTree(text, id));
    url = /<([^>]+)>;\s*rel="next"/.exec(headers.get('link') ?? '')?.[1] ?? null;
  }
  return entries;
}

/**
 * Downloads a model's files into the store, continuing what is there in part, and checks their lengths and hashes.
 * Throws HubError, or StorageError where there is no room; what arrived stays and is continued next time.
 */
export async function downloadModel(id: string, options: DownloadOptions): Promise<DownloadedModel> {
  const { connection, store, revision, file, endpoint, signal, onProgress } = options;
  const repository = { id, revision, endpoint };
  const download = new Download(connection, store, repository, hubGroup(id, revision, file), signal);
  let entries = await listHubFiles(connection, repository, signal);
  if (file === undefined && entries.some(({ path }) => path === INDEX)) {
    await download.file(entryOf(entries, INDEX, id), () => undefined);
    entries = [...chooseShards(await download.text(INDEX), entries, id), ...smallFiles(entries, id), entryOf(entries, INDEX, id)];
  } else {
    entries = file === undefined ? chooseWhole(entries, id) : [entryOf(entries, file, id)];
  }
  const total = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const report = throttled((done) => onProgress?.({ label: `Downloading ${id}`, done, total, unit: 'bytes' }));
  let before = 0;
  for (const entry of entries) {
    await download.file(entry, (bytes) => report(before + bytes));
    before += entry.bytes;
  }
  onProgress?.({ label: `Downloading ${id}`, done: before, total, unit: 'bytes' });
  return { group: download.group, name: id, files: entries.map(({ path }) => path) };
}

/** The server has another version of a file than the one being downloaded. */
class Changed extends Error {}

/** Told how many bytes of a file are there. */
type OnBytes = (bytes: number) => void;

/** What the server's answers for one file have in common. */
interface Version {
  etag: string | null;
}

class Download {
  constructor(
    private readonly connection: Connection,
    private readonly store: FileStore,
    private readonly repository: Repository,
    readonly group: string,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Downloads one file; starts again under the new hash where it changes on the way. */
  async file(entry: HubEntry, onBytes: OnBytes): Promise<void> {
    const kept = await this.store.find(this.group, entry.path);
    if (kept?.complete && kept.tag === entry.tag) return onBytes(entry.bytes);
    for (let changes = 0, wanted = entry; ; changes++) {
      const hash = new PartialHash(wanted);
      const version: Version = { etag: null };
      try {
        return await this.connection.retry(this.signal, (progressed) =>
          this.attempt(wanted, hash, version, (bytes) => {
            progressed();
            onBytes(bytes);
          }),
        );
      } catch (error) {
        if (!(error instanceof Changed)) throw error;
        if (changes === MOST_CHANGES) throw this.unlike(wanted);
        await this.store.delete(this.group, entry.path);
        wanted = entryOf(await listHubFiles(this.connection, this.repository, this.signal), entry.path, this.repository.id);
      }
    }
  }

  async text(path: string): Promise<string> {
    const source = await this.store.open(this.group, path);
    return new TextDecoder().decode(await source.read(0, Math.min(source.size, TEXT_LIMIT)));
  }

  /** One request for what is missing. */
  private async attempt(entry: HubEntry, hash: PartialHash, version: Version, onBytes: OnBytes): Promise<void> {
    const options = { total: entry.bytes, tag: entry.tag };
    const kept = await this.store.partial(this.group, entry.path);
    await hash.catchUp(kept?.tag === entry.tag ? await this.store.readPartial(this.group, entry.path) : null);
    let writer = await this.store.write(this.group, entry.path, options);
    try {
      if (writer.position === 0) hash.restart();
      if (writer.position < entry.bytes) {
        const request = { reason: this.reason(entry), from: writer.position, signal: this.signal };
        const answer = await this.connection.get(this.url(entry), request);
        try {
          checkAnswer(answer, entry, version);
          if (answer.status === 200 && writer.position > 0) {
            // A server without ranges sends all of it again.
            await writer.abort('sent again from the start');
            await this.store.delete(this.group, entry.path);
            writer = await this.store.write(this.group, entry.path, options);
            hash.restart();
          }
          await this.receive(answer.chunks(), entry, writer, hash, onBytes);
        } finally {
          answer.close();
        }
      }
      if (writer.position < entry.bytes) throw new Transient(this.stopped(entry, writer.position));
      await this.finish(entry, writer, hash);
    } catch (error) {
      await writer.abort(error);
      throw this.signal?.aborted ? this.stopped(entry, writer.position) : error;
    }
  }

  private async receive(chunks: AsyncIterable<Uint8Array>, entry: HubEntry, writer: FileWriter, hash: PartialHash, onBytes: OnBytes) {
    for await (const chunk of chunks) {
      if (writer.position + chunk.length > entry.bytes) throw new Changed();
      await writer.write(chunk);
      hash.update(chunk);
      onBytes(writer.position);
    }
  }

  private async finish(entry: HubEntry, writer: FileWriter, hash: PartialHash): Promise<void> {
    const found = hash.hex();
    if (entry.sha256 !== null && found !== entry.sha256) {
      await writer.abort('wrong hash');
      await this.store.delete(this.group, entry.path);
      throw new HubError(
        `${entry.path} of ${this.repository.id} arrived damaged: its SHA-256 is ${found.slice(0, 12)}…, ` +
          `and ${entry.sha256.slice(0, 12)}… was expected. It was deleted; download it again.`,
      );
    }
    await writer.close();
  }

  private stopped(entry: HubEntry, position: number): HubError {
    return new HubError(
      `The download of ${entry.path} stopped at ${formatBytes(position)} of ` +
        `${formatBytes(entry.bytes)}. What arrived is kept; start it again to go on.`,
    );
  }

  private unlike(entry: HubEntry): HubError {
    return new HubError(
      `${entry.path} of ${this.repository.id} keeps arriving in another version than ` +
        `the hub lists (${entry.bytes} bytes); try again later, or download it by hand.`,
    );
  }

  private url(entry: HubEntry): string {
    const { id, revision = 'main', endpoint = HUB_ENDPOINT } = this.repository;
    return `${endpoint}/${id}/resolve/${encodeURIComponent(revision)}/${entry.path.split('/').map(encodeURIComponent).join('/')}`;
  }

  private reason(entry: HubEntry): string {
    return `file ${entry.path} of ${this.repository.id}`;
  }
}

/** The SHA-256 of a file that arrives over several requests, or sessions; counts nothing where none is to be checked. */
class PartialHash {
  private sha = new Sha256();
  private bytes = 0;
  constructor(private readonly entry: HubEntry) {}

  update(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    if (this.entry.sha256 !== null) this.sha.update(chunk);
  }
  hex(): string {
    return this.sha.hex();
  }
  restart(): void {
    this.sha = new Sha256();
    this.bytes = 0;
  }
  /** Takes in what is kept and was not seen yet: what an earlier session left. */
  async catchUp(kept: ByteSource | null): Promise<void> {
    if (!kept || kept.size < this.bytes) this.restart();
    while (kept && this.bytes < kept.size) this.update(await kept.read(this.bytes, Math.min(4 * 1024 * 1024, kept.size - this.bytes)));
  }
}

/** Throws Changed where an answer is of another version than before, and HubError where it is no file at all. */
function checkAnswer({ status, headers }: Answer, entry: HubEntry, version: Version): void {
  if (status === 416) throw new Changed();
  const type = headers.get('content-type') ?? '';
  if (type.startsWith('text/html') && !entry.path.endsWith('.html')) {
    throw new HubError(
      `A web page came instead of ${entry.path}; a login page or proxy may stand in ` +
        'between: check the connection, or download the file by hand and open it here.',
    );
  }
  const etag = headers.get('etag');
  if (version.etag !== null && etag !== null && version.etag !== etag) throw new Changed();
  version.etag ??= etag;
  const total = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
  if (total !== undefined && Number(total) !== entry.bytes) throw new Changed();
}

/** Checks a page of the tree: `[{ type, path, size, oid, lfs?: { oid, size } }]`. */
function parseTree(text: string, id: string): HubEntry[] {
  const wrong = (found: string) => new HubError(
    `The list of files of ${id} is ${found}, where a JSON ` +
      'list was expected; check the connection and the id.',
  );
  let page: unknown;
  try {
    page = JSON.parse(text);
  } catch {
    throw wrong(/^\s*</.test(text) ? 'a web page' : 'not JSON');
  }
  if (!Array.isArray(page)) throw wrong('not a list');
  return page.flatMap((item: unknown): HubEntry[] => {
    const { type, path, size, oid, lfs } = (item ?? {}) as Record<string, unknown>;
    if (type !== 'file') return [];
    const { oid: sha256, size: lfsSize } = (lfs ?? {}) as Record<string, unknown>;
    const bytes = lfsSize ?? size;
    if (typeof path !== 'string' || typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0) {
      throw wrong('without paths and sizes');
    }
    const hash = typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256) ? sha256 : null;
    return [{ path, bytes, sha256: hash, tag: hash ?? (typeof oid === 'string' ? oid : `${bytes}`) }];
  });
}

function entryOf(entries: HubEntry[], path: string, id: string): HubEntry {
  const entry = entries.find((one) => one.path === path);
  if (entry) return entry;
  throw new HubError(`${id} has no file ${path}; it has ${inWords(entries.map((one) => one.path))}.`);
}

function smallFiles(entries: HubEntry[], id: string): HubEntry[] {
  entryOf(entries, 'config.json', id);
  return entries.filter(({ path }) => SMALL_FILES.includes(path));
}

function chooseWhole(entries: HubEntry[], id: string): HubEntry[] {
  const weights = entries.find(({ path }) => path === WHOLE);
  if (weights) return [...smallFiles(entries, id), weights];
  const ggufs = entries.filter(({ path }) => path.endsWith('.gguf')).map(({ path }) => path);
  throw new HubError(
    ggufs.length > 0
      ? `${id} has GGUF files and no ${WHOLE}; choose one of ${inWords(ggufs)}.`
      : `${id} has neither ${WHOLE} nor a GGUF file, but ${inWords(entries.map(({ path }) => path))}; choose a repository that has one.`,
  );
}

/** The shards that an index names. */
function chooseShards(index: string, entries: HubEntry[], id: string): HubEntry[] {
  let map: unknown;
  try {
    map = (JSON.parse(index) as { weight_map?: unknown }).weight_map;
  } catch {
    map = null;
  }
  if (typeof map !== 'object' || map === null) {
    throw new HubError(`${INDEX} of ${id} has no weight_map; the repository is damaged, choose another.`);
  }
  return [...new Set(Object.values(map).map(String))].sort().map((shard) => entryOf(entries, shard, id));
}

function inWords(paths: string[]): string {
  const shown = paths.slice(0, 8).join(', ');
  return paths.length === 0 ? 'no files' : paths.length > 8 ? `${shown} and ${paths.length - 8} more` : shown;
}

/** Passes numbers on ten times a second at most. */
function throttled(report: (value: number) => void): (value: number) => void {
  let last = -Infinity;
  return (value) => {
    const now = performance.now();
    if (now - last < 100) return;
    last = now;
    report(value);
  };
}
