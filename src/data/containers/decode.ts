import type { ByteSource } from '../../core/bytes';
import type { OnProgress } from '../../core/progress';

const CHUNK = 1 << 20;

export interface TextEncoding {
  label: string;
  /** Bytes of the byte-order mark. */
  skip: number;
}

/** The encoding that a file's first bytes show: a byte-order mark, or UTF-16's zero bytes; else UTF-8. */
export async function sniffEncoding(source: ByteSource): Promise<TextEncoding> {
  const head = await source.read(0, Math.min(source.size, 64));
  if (head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf) return { label: 'utf-8', skip: 3 };
  if (head[0] === 0xff && head[1] === 0xfe) return { label: 'utf-16le', skip: 2 };
  if (head[0] === 0xfe && head[1] === 0xff) return { label: 'utf-16be', skip: 2 };
  const zeros = [0, 1].map((parity) => head.filter((byte, i) => i % 2 === parity && byte === 0).length);
  if (zeros[1]! > head.length / 4) return { label: 'utf-16le', skip: 0 };
  if (zeros[0]! > head.length / 4) return { label: 'utf-16be', skip: 0 };
  return { label: 'utf-8', skip: 0 };
}

/** Thrown where bytes are no text in the encoding that was tried. */
export class NotInEncoding extends Error {}

/** The file's text, a megabyte at a time; throws NotInEncoding where bytes do not fit the encoding. */
export async function* readText(source: ByteSource, encoding: TextEncoding, onProgress?: OnProgress): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding.label, { fatal: true, ignoreBOM: true });
  const decode = (bytes?: Uint8Array): string => {
    try {
      return bytes ? decoder.decode(bytes, { stream: true }) : decoder.decode();
    } catch {
      throw new NotInEncoding(encoding.label);
    }
  };
  for (let at = encoding.skip; at < source.size; at += CHUNK) {
    const bytes = await source.read(at, Math.min(CHUNK, source.size - at));
    yield decode(bytes);
    onProgress?.({ label: 'Reading the data set', done: at + bytes.length, total: source.size, unit: 'bytes' });
  }
  const rest = decode();
  if (rest !== '') yield rest;
}
