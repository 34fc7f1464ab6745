import { studio } from './studio';

/** One request of the page, as the browser recorded it, or of its worker, as that did. */
export interface NetworkRequest {
  /** Who sent it, and what it was: a path, or what it was for. */
  host: string;
  what: string;
  /** Milliseconds since 1970. */
  time: number;
  /** Bytes received, 0 where the browser does not tell. */
  bytes: number;
}

/**
 * What went over the network: the browser's own records of the page, and the worker's of what it fetched, which the page's
 * do not show. Hone only ever asks (GET, no body), so what was sent is nothing; what was received is counted here.
 */
class Network {
  private ofPage = $state.raw<NetworkRequest[]>([]);
  private ofWorker = $state.raw<NetworkRequest[]>([]);

  constructor() {
    new PerformanceObserver((list) => this.add(list.getEntries())).observe({ type: 'resource', buffered: true });
    new PerformanceObserver((list) => this.add(list.getEntries())).observe({ type: 'navigation', buffered: true });
  }

  /** Oldest first. */
  get requests(): NetworkRequest[] {
    return [...this.ofPage, ...this.ofWorker].sort((a, b) => a.time - b.time);
  }

  /** Asks the worker what it has fetched by now. */
  async refresh(): Promise<void> {
    const records = await studio.requests();
    this.ofWorker = records.map(({ host, reason, time, bytes }) => ({ host, what: reason, time, bytes }));
  }

  get received(): number {
    return this.requests.reduce((sum, request) => sum + request.bytes, 0);
  }

  private add(entries: PerformanceEntry[]): void {
    const seen = entries
      .filter((entry): entry is PerformanceResourceTiming => entry instanceof PerformanceResourceTiming)
      .filter((entry) => /^https?:/.test(entry.name))
      .map((entry) => ({
        host: new URL(entry.name).host,
        what: new URL(entry.name).pathname,
        time: performance.timeOrigin + entry.startTime,
        bytes: entry.encodedBodySize,
      }));
    // A navigation is reported once while it loads and again when it has: the later record counts.
    const older = this.ofPage.filter((request) => !seen.some((other) => other.what === request.what && other.time === request.time));
    if (seen.length > 0) this.ofPage = [...older, ...seen];
  }
}

export const network = new Network();
