/**
 * A hub on this machine: one server that speaks the Hugging Face hub's URLs and redirects files to a second one,
 * as the hub does to its CDN. Both follow RFC 9110 for ranges. `faults` says how the next file answers go wrong.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the file server does to one answer: the default is to send it whole. */
export type Fault =
  | { kind: 'cut'; after: number }
  | { kind: 'hang'; after: number }
  | { kind: 'status'; status: number; retryAfter?: string }
  | { kind: 'html' }
  | { kind: 'no ranges' }
  | { kind: 'garble' }
  | { kind: 'short'; by: number };

export interface Seen {
  server: 'hub' | 'cdn';
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
}

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export class TestHub {
  /** Files of the one repository, by path. */
  readonly files = new Map<string, Uint8Array>();
  /** What the file server sends instead, where it disagrees with the list. */
  readonly served = new Map<string, Uint8Array>();
  /** Paths kept as LFS: listed with their SHA-256. */
  readonly lfs = new Set<string>();
  readonly faults: Fault[] = [];
  readonly seen: Seen[] = [];
  gate: { status: number; code: string | null } | null = null;
  pageLength = 1000;
  /** A terse file server sends no ETag, and no Content-Range where there is nothing to send. */
  terse = false;
  /** Called when the file server has sent the answer's first bytes. */
  onSending: () => void = () => undefined;

  private constructor(
    private readonly hub: Server,
    private readonly cdn: Server,
    readonly id: string,
  ) {}

  static async start(id = 'org/model'): Promise<TestHub> {
    const hub = createServer();
    const cdn = createServer();
    const server = new TestHub(hub, cdn, id);
    hub.on('request', server.answer('hub', (request, response) => server.hubAnswer(request, response)));
    cdn.on('request', server.answer('cdn', (request, response) => server.fileAnswer(request, response)));
    for (const one of [hub, cdn]) await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get endpoint(): string {
    return `http://${this.hubHost}`;
  }
  get hubHost(): string {
    return `127.0.0.1:${(this.hub.address() as AddressInfo).port}`;
  }
  get cdnHost(): string {
    return `127.0.0.1:${(this.cdn.address() as AddressInfo).port}`;
  }
  /** Requests that reached the file server. */
  get fileRequests(): Seen[] {
    return this.seen.filter(({ server }) => server === 'cdn');
  }

  addLfs(path: string, bytes: Uint8Array): void {
    this.files.set(path, bytes);
    this.lfs.add(path);
  }

  async stop(): Promise<void> {
    for (const one of [this.hub, this.cdn]) {
      one.closeAllConnections();
      await new Promise((resolve) => one.close(resolve));
    }
  }

  private answer(server: 'hub' | 'cdn', listener: RequestListener): RequestListener {
    return (request, response) => {
      this.seen.push({ server, method: request.method!, url: request.url!, headers: request.headers });
      // As the hub does: any page may read the answers and these headers, and no preflight is answered.
      response.setHeader('Access-Control-Allow-Origin', '*');
      response.setHeader('Access-Control-Expose-Headers', 'ETag, Link, Content-Range, X-Error-Code, X-Linked-Size, X-Linked-ETag');
      listener(request, response);
    };
  }

  private hubAnswer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, this.endpoint);
    if (this.gate) {
      response.writeHead(this.gate.status, this.gate.code === null ? {} : { 'X-Error-Code': this.gate.code }).end('{}');
      return;
    }
    const tree = /^\/api\/models\/(.+)\/tree\/([^/]+)$/.exec(url.pathname);
    const resolve = /^\/(.+?)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    if (tree && tree[1] === this.id) return this.treeAnswer(url, response);
    const path = resolve?.[1] === this.id ? decodeURIComponent(resolve[3]!) : '';
    const bytes = this.files.get(path);
    if (!bytes) {
      response.writeHead(404, { 'X-Error-Code': resolve ? 'EntryNotFound' : 'RepoNotFound' }).end('not found');
      return;
    }
    response.writeHead(302, {
      Location: `http://${this.cdnHost}/${encodeURIComponent(path)}?signature=abc`,
      'X-Linked-Size': bytes.length,
      'X-Linked-ETag': `"${sha256(bytes)}"`,
    });
    response.end();
  }

  private treeAnswer(url: URL, response: ServerResponse): void {
    const page = Number(url.searchParams.get('cursor') ?? 0);
    const all = [{ type: 'directory', path: 'folder', size: 0, oid: 'd' }, ...[...this.files].map(([path, bytes]) => this.treeEntry(path, bytes))];
    const shown = all.slice(page * this.pageLength, (page + 1) * this.pageLength);
    if ((page + 1) * this.pageLength < all.length) {
      url.searchParams.set('cursor', String(page + 1));
      response.setHeader('Link', `<${url.href}>; rel="next"`);
    }
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(shown));
  }

  private treeEntry(path: string, bytes: Uint8Array): object {
    const oid = createHash('sha1').update(bytes).digest('hex');
    const lfs = this.lfs.has(path) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 135 } } : {};
    return { type: 'file', path, size: bytes.length, oid, ...lfs };
  }

  private fileAnswer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(new URL(request.url!, this.endpoint).pathname.slice(1));
    const fault = this.faults.shift();
    const whole = (this.served.get(path) ?? this.files.get(path))!;
    if (fault?.kind === 'status') {
      response.writeHead(fault.status, fault.retryAfter === undefined ? {} : { 'Retry-After': fault.retryAfter }).end();
      return;
    }
    if (fault?.kind === 'html') {
      response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end('<html>Please sign in</html>');
      return;
    }
    const asked = fault?.kind === 'no ranges' ? undefined : /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
    const from = Number(asked ?? 0);
    const headers: Record<string, string | number> = { 'Content-Type': 'application/octet-stream' };
    if (!this.terse) headers.ETag = `"${sha256(whole)}"`;
    if (from >= whole.length && from > 0) {
      response.writeHead(416, this.terse ? headers : { ...headers, 'Content-Range': `bytes */${whole.length}` }).end();
      return;
    }
    let body = whole.slice(from, whole.length - (fault?.kind === 'short' ? fault.by : 0));
    if (fault?.kind === 'garble') body = body.map((byte, i) => (i === 5 ? byte ^ 1 : byte));
    if (asked !== undefined) headers['Content-Range'] = `bytes ${from}-${whole.length - 1}/${whole.length}`;
    response.writeHead(asked === undefined ? 200 : 206, { ...headers, 'Content-Length': body.length });
    if (fault?.kind === 'cut' || fault?.kind === 'hang') {
      response.write(body.slice(0, fault.after), () => {
        this.onSending();
        if (fault.kind === 'cut') setTimeout(() => response.destroy(), 100);
      });
      return;
    }
    response.end(body);
  }
}
