import { openAsBlob, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { BlobSource, type ByteSource } from '../src/core/bytes';

/** A file on disk as a source, read range by range. */
export async function fileSource(path: string): Promise<ByteSource> {
  return new BlobSource(await openAsBlob(path), basename(path));
}

/** The files of a folder whose names match. */
export async function folderSources(folder: string, pattern = /./): Promise<ByteSource[]> {
  const names = readdirSync(folder).filter((name) => pattern.test(name));
  return Promise.all(names.map((name) => fileSource(join(folder, name))));
}
