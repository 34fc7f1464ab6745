import { makeZip, predictLength } from 'client-zip';
import type { ByteSink, ByteSource } from '../core/bytes';
import { ExportError } from '../core/errors';
import { Sha256 } from '../core/sha256';

/** Entries' date: fixed, so that the same files give the same bytes. */
const DATE = new Date(Date.UTC(1980, 0, 1, 12));
const PIECE = 4 * 2 ** 20;

/** A file for a zip, with the hash that it was found to have. */
export interface ZipEntry {
  name: string;
  source: ByteSource;
  sha256: string;
}

/** Bytes of the zip that writeZip makes of files of these names and lengths. */
export function zipSize(files: readonly { name: string; bytes: number }[]): number {
  return Number(predictLength(files.map(({ name, bytes }) => ({ name, size: bytes }))));
}

/** Appends files as one zip (stored, not compressed). Throws an ExportError where a file is no longer what its hash says. */
export async function writeZip(entries: readonly ZipEntry[], sink: Pick<ByteSink, 'write'>): Promise<void> {
  const inputs = entries.map((entry) => ({ name: entry.name, size: entry.source.size, lastModified: DATE, input: pieces(entry) }));
  const reader = makeZip(inputs).getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) await sink.write(piece.value);
}

async function* pieces({ name, source, sha256 }: ZipEntry): AsyncGenerator<Uint8Array> {
  const hash = new Sha256();
  for (let at = 0; at < source.size; at += PIECE) {
    const piece = await source.read(at, Math.min(PIECE, source.size - at));
    hash.update(piece);
    yield piece;
  }
  if (hash.hex() !== sha256) throw new ExportError(`${name} changed while it was packed, so the zip would not be what was checked; export again.`);
}
