/**
 * The only module that asks the network for anything: GET, no body, no cookies, no referrer, and only from
 * hosts on a list. Every request is kept in a log that the page shows.
 */
import { HubError } from '../core/errors';
import { formatBytes } from './space';

export const HUB_ENDPOINT = 'https://huggingface.co';

/** One request, for the page's count of what was received from where. */
export interface RequestRecord {
  /** Milliseconds since 1970. */
  time: number;
  /** The host that sent the bytes (after redirects), and the one that was asked. */
  host: string;
  askedHost: string;
  /** Body bytes received so far. */
  bytes: number;
  /** Why, in words: "list of files of org/model". */
  reason: string;
}

export interface ConnectionOptions {
  /** Hosts (with port) besides the hub's own: the page's, or another endpoint and its file servers. */
  hosts?: string[];
  /** Failures in a row, without a byte of progress, before giving up. */
  retries?: number;
  /** Milliseconds before the first retry; doubled each time. */
  retryDelay?: number;
  /** Milliseconds without a byte after which a request counts as failed. */
  stallAfter?: number;
}

export interface GetOptions {
  reason: string;
  /** First byte wanted. */
  from?: number;
  signal?: AbortSignal | undefined;
}

/** An answer with status 200, 206, or 416 (there is nothing from byte `from` on). */
export interface Answer {
  status: number;
  headers: Headers;
  /** The body's chunks; throws Transient where the connection breaks. */
  chunks(): AsyncGenerator<Uint8Array, void>;
  /** Hangs up without reading the body. */
  close(): void;
}

/** A failure that may pass: tried again after a while, and shown as `sentence` where it does not pass. */
export class Transient extends Error {
  constructor(
    readonly sentence: HubError,
    /** Milliseconds the server asked to wait, or null. */
    readonly retryAfter: number | null = null,
  ) {
    super(sentence.message);
  }
}

/** Longest wait that a server may ask for before the person is told instead. */
const LONGEST_WAIT = 120_000;

/** Fetches from the hosts it knows, retries what may pass, and remembers what it did. */
export class Connection {
  private readonly log: RequestRecord[] = [];
  private readonly options: Required<ConnectionOptions>;

  constructor(options: ConnectionOptions = {}) {
    this.options = { hosts: [], retries: 5, retryDelay: 1000, stallAfter: 60_000, ...options };
  }

  /** Every request so far, oldest first. */
  requests(): readonly RequestRecord[] {
    return this.log;
  }

  /** One GET, redirects followed. Throws HubError where trying again would not help, else Transient. */
  async get(url: string, { reason, from = 0, signal }: GetOptions): Promise<Answer> {
    this.requireKnown(url, url);
    const record: RequestRecord = { time: Date.now(), host: new URL(url).host, askedHost: new URL(url).host, bytes: 0, reason };
    this.log.push(record);
    const stall = new Stall(this.options.stallAfter);
    const lost = (error: unknown) => this.lost(record, error, signal, stall);
    const response = await fetch(url, {
      // A plain byte range needs no CORS preflight; If-Range would, so versions are told apart by ETag and hash.
      headers: from > 0 ? { Range: `bytes=${from}-` } : {},
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
      cache: 'no-store',
      signal: signal ? AbortSignal.any([signal, stall.signal]) : stall.signal,
    }).catch((error: unknown) => {
      stall.end();
      throw lost(error);
    });
    record.host = new URL(response.url || url).host;
    const close = () => {
      stall.end();
      // The body is not wanted any more; how hanging up ends does not matter.
      response.body?.cancel().catch(() => undefined);
    };
    try {
      this.requireKnown(response.url || url, url);
      if (![200, 206, 416].includes(response.status)) throw refusal(response, reason);
    } catch (error) {
      close();
      throw error;
    }
    return { status: response.status, headers: response.headers, close, chunks: () => received(response, record, stall, lost) };
  }

  /** Does `work` until it succeeds, waiting longer after each failure in a row; `progressed` starts the count again. */
  async retry<T>(signal: AbortSignal | undefined, work: (progressed: () => void) => Promise<T>): Promise<T> {
    let failures = 0;
    for (;;) {
      try {
        return await work(() => (failures = 0));
      } catch (error) {
        if (!(error instanceof Transient)) throw error;
        const wait = Math.max(error.retryAfter ?? 0, this.options.retryDelay * 2 ** failures);
        if (++failures > this.options.retries || (error.retryAfter ?? 0) > LONGEST_WAIT) throw error.sentence;
        await pause(wait, signal);
        if (signal?.aborted) throw stopped();
      }
    }
  }

  /** The whole body of a small answer as text; refuses more than `limit` bytes. */
  async text(url: string, limit: number, options: GetOptions): Promise<{ text: string; headers: Headers }> {
    return this.retry(options.signal, async () => {
      const answer = await this.get(url, options);
      const decoder = new TextDecoder();
      let text = '';
      let bytes = 0;
      for await (const chunk of answer.chunks()) {
        bytes += chunk.length;
        if (bytes > limit) {
          throw new HubError(`The ${options.reason} is longer than ${formatBytes(limit)}; this is not what was asked for, check the id.`);
        }
        text += decoder.decode(chunk, { stream: true });
      }
      return { text: text + decoder.decode(), headers: answer.headers };
    });
  }

  private requireKnown(url: string, asked: string): void {
    const { host, hostname, protocol } = new URL(url);
    const listed = this.options.hosts.includes(host);
    const hub = protocol === 'https:' && (host === new URL(HUB_ENDPOINT).host || hostname.endsWith('.hf.co'));
    if (listed || hub) return;
    const how = url === asked ? 'is asked for a file' : `is where ${new URL(asked).host} sends its files from`;
    throw new HubError(`${host} ${how}, and it is not a host that Hone loads from; download the file by hand and open it here.`);
  }

  /** What a failed or broken request means. */
  private lost(record: RequestRecord, error: unknown, signal: AbortSignal | undefined, stall: Stall): Error {
    if (signal?.aborted) return stopped();
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const found = stall.signal.aborted
      ? `sent nothing for ${Math.round(this.options.stallAfter / 1000)} seconds`
      : `could not be reached (${cause instanceof Error ? cause.message : String(cause)})`;
    return new Transient(new HubError(
      `${record.host} ${found} while loading the ${record.reason}; ` +
        'what arrived is kept. Check the connection and continue.',
    ));
  }
}

/** Gives up on a request that goes quiet. */
class Stall {
  private readonly controller = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;
  constructor(private readonly after: number) {
    this.heard();
  }
  get signal(): AbortSignal {
    return this.controller.signal;
  }
  heard(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.controller.abort(), this.after);
  }
  end(): void {
    clearTimeout(this.timer);
  }
}

async function* received(
  response: Response,
  record: RequestRecord,
  stall: Stall,
  lost: (error: unknown) => Error,
): AsyncGenerator<Uint8Array, void> {
  const reader = response.body?.getReader();
  try {
    while (reader) {
      stall.heard();
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw lost(error);
      });
      if (done) return;
      record.bytes += value.length;
      // While the reader of the chunks is busy, silence is not the server's.
      stall.end();
      yield value;
    }
  } finally {
    stall.end();
    await reader?.cancel().catch(() => undefined);
  }
}

/** The error for a status other than 200, 206 and 416. */
function refusal(response: Response, reason: string): Error {
  const { status, headers } = response;
  const host = new URL(response.url).host;
  const code = headers.get('x-error-code');
  if (code === 'GatedRepo' || (status === 403 && code === null)) {
    return new HubError(
      `${host} does not hand out the ${reason} without an account. ` +
        'Accept the licence on huggingface.co, then open the file here.',
    );
  }
  if (status === 401 || status === 403) {
    return new HubError(
      `${host} does not know the ${reason}, or keeps it private; check the id. Where ` +
        'it is gated: Accept the licence on huggingface.co, then open the file here.',
    );
  }
  if (status === 404) return new HubError(`${host} has no ${reason}; check the id, the revision and the file name.`);
  if (status === 429 || status >= 500) {
    const retryAfter = parseRetryAfter(headers.get('retry-after'));
    const when = retryAfter === null ? 'later' : `in ${Math.ceil(retryAfter / 1000)} seconds`;
    const found = status === 429 ? 'has had too many requests from here' : `answered ${status}`;
    return new Transient(new HubError(
      `${host} ${found} when asked for the ${reason}; ` +
        `what arrived is kept. Try again ${when}.`,
    ), retryAfter);
  }
  return new HubError(
    `${host} answered ${status} when asked for the ${reason}, where ` +
      'the file was expected; download it by hand and open it here.',
  );
}

/** Milliseconds of a Retry-After header: seconds or a date (RFC 9110, 10.2.3). */
function parseRetryAfter(value: string | null): number | null {
  if (value === null) return null;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? null : Math.max(0, date - Date.now());
}

const stopped = () => new HubError('The download was stopped. What arrived is kept; start it again to go on.');

/** Resolves after `milliseconds`, or at once when `signal` is aborted. */
function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener('abort', end);
  });
}
