import type { ByteSink, ByteSource } from '../core/bytes';
import type { Certificate } from '../core/certificate';
import { copyBytes } from '../exports/files';
import { HashingSink, type Written } from '../exports/hashing-sink';
import type { Destination } from '../exports/write-export';
import { writeZip } from '../exports/zip';
import type { FileStore } from '../storage/files';

/** Begins the groups of the browser's files in which exports wait for their certificate. */
export const EXPORT_IDS = 'export:';

/**
 * An export in the browser: written among its private files, read again from there, and once certified copied to where the
 * person wants it: the file itself, or a zip of several.
 */
export class DeliveredExport implements Destination {
  /** What was delivered; null until it was. */
  delivered: Written | null = null;

  private constructor(
    private readonly files: FileStore,
    private readonly group: string,
    private readonly sink: ByteSink,
    private readonly oneFile: boolean,
  ) {}

  /** Clears away what an export of the same run that was killed left behind. */
  static async start(files: FileStore, runId: string, sink: ByteSink, oneFile: boolean): Promise<DeliveredExport> {
    const group = EXPORT_IDS + runId;
    await files.delete(group);
    return new DeliveredExport(files, group, sink, oneFile);
  }

  create(name: string, bytes: number): Promise<ByteSink> {
    return this.files.write(this.group, name, { total: bytes });
  }

  open(name: string): Promise<ByteSource> {
    return this.files.open(this.group, name);
  }

  async publish({ files }: Certificate): Promise<void> {
    const out = new HashingSink(this.sink);
    if (this.oneFile) await copyBytes(await this.open(files[0]!.name), out);
    else await writeZip(await Promise.all(files.map(async ({ name, sha256 }) => ({ name, sha256, source: await this.open(name) }))), out);
    await this.sink.close();
    this.delivered = out.written();
    await this.files.delete(this.group);
  }

  /** The sink is aborted by whoever opened it. */
  discard(): Promise<void> {
    return this.files.delete(this.group);
  }
}
