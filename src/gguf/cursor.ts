import type { ByteSource } from '../core/bytes';
import { GgufError } from '../core/errors';

const WINDOW = 1 << 20;
/** Real directories stay far below (a 262,144-token vocabulary with merges takes 16 MB). */
const LONGEST_DIRECTORY = 1 << 26;

/**
 * Reads a file's little-endian values front to back through a window, so that a directory of any size costs
 * few reads and little memory. `fill(n)` makes the next n bytes present; the getters then take them.
 */
export class Cursor {
  private window: Uint8Array = new Uint8Array(0);
  private view = new DataView(this.window.buffer);
  private start = 0;
  private at = 0;
  private readonly text = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(private readonly source: ByteSource) {}

  /** Bytes from the file's start. */
  get position(): number {
    return this.start + this.at;
  }

  /** Bytes between here and the file's end. */
  get left(): number {
    return this.source.size - this.position;
  }

  /** Whether the next `bytes` are present, so that no wait is needed for them. */
  has(bytes: number): boolean {
    return this.window.byteLength - this.at >= bytes;
  }

  /** Makes the next `bytes` present. `what` names them where the file ends before. */
  async fill(bytes: number, what: string): Promise<void> {
    if (this.has(bytes)) return;
    const position = this.position;
    if (bytes > this.left) {
      throw new GgufError(
        `${this.source.name}: the file ends at byte ${this.source.size} inside ${what}, which would need ${bytes} bytes ` +
          `from byte ${position}; the file is cut short or damaged, download or copy it again.`,
      );
    }
    if (position + bytes > LONGEST_DIRECTORY) {
      throw new GgufError(
        `${this.source.name}: the metadata reach past byte ${LONGEST_DIRECTORY} (${what}), which no known model needs; the file is damaged.`,
      );
    }
    const length = Math.min(Math.max(bytes, WINDOW), this.left);
    this.window = await this.source.read(position, length);
    this.view = new DataView(this.window.buffer, this.window.byteOffset, this.window.byteLength);
    this.start = position;
    this.at = 0;
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }
  i8(): number {
    return this.view.getInt8(this.take(1));
  }
  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }
  i16(): number {
    return this.view.getInt16(this.take(2), true);
  }
  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  i32(): number {
    return this.view.getInt32(this.take(4), true);
  }
  f32(): number {
    return this.view.getFloat32(this.take(4), true);
  }
  f64(): number {
    return this.view.getFloat64(this.take(8), true);
  }
  u64(): bigint {
    return this.view.getBigUint64(this.take(8), true);
  }
  i64(): bigint {
    return this.view.getBigInt64(this.take(8), true);
  }
  /** A u64 as a number: exact below 2^53, and far too large for any length above. */
  length(): number {
    const low = this.u32();
    return this.u32() * 2 ** 32 + low;
  }
  string(bytes: number): string {
    const at = this.take(bytes);
    return this.text.decode(this.window.subarray(at, at + bytes));
  }

  private take(bytes: number): number {
    const at = this.at;
    this.at += bytes;
    return at;
  }
}
