import type { ByteSink } from '../core/bytes';
import { Sha256 } from '../core/sha256';

/** What was written: its length and SHA-256 in hexadecimal. */
export interface Written {
  bytes: number;
  sha256: string;
}

/** Passes bytes on and keeps their count and hash. Leaves closing to whoever opened the sink below. */
export class HashingSink implements ByteSink {
  private readonly hash = new Sha256();
  private count = 0;

  /** `onBytes` hears the count after each write. */
  constructor(
    private readonly below: ByteSink,
    private readonly onBytes: (bytes: number) => void = () => undefined,
  ) {}

  async write(bytes: Uint8Array): Promise<void> {
    this.hash.update(bytes);
    this.count += bytes.byteLength;
    await this.below.write(bytes);
    this.onBytes(this.count);
  }
  close(): Promise<void> {
    return this.below.close();
  }
  abort(reason: unknown): Promise<void> {
    return this.below.abort(reason);
  }
  written(): Written {
    return { bytes: this.count, sha256: this.hash.hex() };
  }
}

/**
 * Runs `produce` into a sink and closes it; where producing fails, the sink is told to give up, so that
 * nothing half-written passes for a whole file, and the error goes on.
 */
export async function writeFile(
  sink: ByteSink,
  produce: (sink: ByteSink) => Promise<void>,
  onBytes?: (bytes: number) => void,
): Promise<Written> {
  const hashing = new HashingSink(sink, onBytes);
  try {
    await produce(hashing);
  } catch (error) {
    await sink.abort(error);
    throw error;
  }
  await sink.close();
  return hashing.written();
}
