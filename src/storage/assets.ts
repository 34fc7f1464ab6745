import { MemorySource, type ByteSource } from '../core/bytes';
import { HubError } from '../core/errors';
import type { OnProgress } from '../core/progress';
import type { Connection } from './hub';
import { formatBytes } from './space';

/** Files that come with the page are small; more than this is not one of them. */
const LONGEST_ASSET = 256 * 1024 * 1024;

/**
 * A file that is served beside the page (the demo's model and data set), whole in memory.
 * `url` is absolute, as a worker made from a blob has no base; its host must be on the connection's list. Throws HubError.
 */
export async function fetchAsset(
  connection: Connection,
  url: string,
  options: { onProgress?: OnProgress; signal?: AbortSignal } = {},
): Promise<ByteSource> {
  const name = decodeURIComponent(new URL(url).pathname.split('/').at(-1)!);
  const { onProgress, signal } = options;
  return connection.retry(signal, async () => {
    const answer = await connection.get(url, { reason: `file ${name} of this page`, signal });
    const announced = Number(answer.headers.get('content-length') ?? 0);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    if (answer.status !== 200) {
      answer.close();
      throw new HubError(`${name} came only in part (status ${answer.status}); reload the page.`);
    }
    if ((answer.headers.get('content-type') ?? '').startsWith('text/html') && !name.endsWith('.html')) {
      answer.close();
      throw new HubError(`${name} is missing from this page: a web page came in its place. Reload, or tell who runs this site.`);
    }
    for await (const chunk of answer.chunks()) {
      bytes += chunk.length;
      if (bytes > LONGEST_ASSET) throw new HubError(`${name} is longer than ${formatBytes(LONGEST_ASSET)}; open it as a file instead.`);
      chunks.push(chunk);
      onProgress?.({ label: `Loading ${name}`, done: bytes, total: Math.max(bytes, announced), unit: 'bytes' });
    }
    const whole = new Uint8Array(bytes);
    let at = 0;
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return new MemorySource(whole, name);
  });
}
