/** One request that the page made, as the browser recorded it. */
export interface NetworkRequest {
  url: string;
  host: string;
  /** Milliseconds since 1970. */
  time: number;
  /** Bytes received, 0 where the browser does not tell. */
  bytes: number;
}

/**
 * What went over the network, from the browser's own records. Hone only ever asks (GET, no body),
 * so what was sent is nothing; what was received is counted here.
 */
class Network {
  requests = $state.raw<NetworkRequest[]>([]);

  constructor() {
    new PerformanceObserver((list) => this.add(list.getEntries())).observe({ type: 'resource', buffered: true });
    new PerformanceObserver((list) => this.add(list.getEntries())).observe({ type: 'navigation', buffered: true });
  }

  get received(): number {
    return this.requests.reduce((sum, request) => sum + request.bytes, 0);
  }

  private add(entries: PerformanceEntry[]): void {
    const seen = entries
      .filter((entry): entry is PerformanceResourceTiming => entry instanceof PerformanceResourceTiming)
      .filter((entry) => /^https?:/.test(entry.name))
      .map((entry) => ({
        url: entry.name,
        host: new URL(entry.name).host,
        time: performance.timeOrigin + entry.startTime,
        bytes: entry.encodedBodySize,
      }));
    // A navigation is reported once while it loads and again when it has: the later record counts.
    const older = this.requests.filter((request) => !seen.some((other) => other.url === request.url && other.time === request.time));
    if (seen.length > 0) this.requests = [...older, ...seen];
  }
}

export const network = new Network();
