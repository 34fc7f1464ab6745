import type { ByteSink, ByteSource } from '../core/bytes';
import { writeFile, type Written } from './hashing-sink';

/** One file of an export: `name` is its path below the export's place, `bytes` its exact length, known beforehand. */
export interface ExportFile {
  name: string;
  bytes: number;
  /** Writes the content and closes the sink; where that fails, the sink is aborted. */
  write: (sink: ByteSink, onBytes?: (bytes: number) => void) => Promise<Written>;
}

/** A file whose content is at hand, in pieces. */
export function smallFile(name: string, pieces: readonly Uint8Array[]): ExportFile {
  return {
    name,
    bytes: pieces.reduce((sum, piece) => sum + piece.byteLength, 0),
    write: (sink, onBytes) =>
      writeFile(
        sink,
        async (out) => {
          for (const piece of pieces) await out.write(piece);
        },
        onBytes,
      ),
  };
}

export function textFile(name: string, text: string): ExportFile {
  return smallFile(name, [new TextEncoder().encode(text)]);
}

export function jsonFile(name: string, value: object): ExportFile {
  return textFile(name, `${JSON.stringify(value, null, 2)}\n`);
}

/** A file of the base that goes along unchanged. */
export function copiedFile(name: string, source: ByteSource): ExportFile {
  return { name, bytes: source.size, write: (sink, onBytes) => writeFile(sink, (out) => copyBytes(source, out), onBytes) };
}

const COPY_BYTES = 4 * 2 ** 20;

/** Appends a whole source to a sink. */
export async function copyBytes(source: ByteSource, sink: Pick<ByteSink, 'write'>): Promise<void> {
  for (let at = 0; at < source.size; at += COPY_BYTES) await sink.write(await source.read(at, Math.min(COPY_BYTES, source.size - at)));
}
