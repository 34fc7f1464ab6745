import type { ByteSink, ByteSource } from '../core/bytes';
import type { Certificate } from '../core/certificate';
import { copyBytes } from '../exports/files';
import { HashingSink, type Written } from '../exports/hashing-sink';
import type { Destination } from '../exports/write-export';
import { writeZip } from '../exports/zip';
import type { FileStore } from '../storage/files';

/** Group of the browser's files in which exports wait for their certificate; one export at a time. */
const EXPORT_GROUP = 'export:waiting';

/**
 * An export in the browser: written among its private files, read again from there, and once certified copied to where the
 * person wants it: the file itself, or a zip of several.
 */
export class DeliveredExport implements Destination {
  /** What was delivered; null until it was. */
  delivered: Written | null = null;

  private constructor(
    private readonly files: FileStore,
    private readonly sink: ByteSink,
    private readonly oneFile: boolean,
  ) {}

  /** Clears away what an export that was killed left behind. */
  static async start(files: FileStore, sink: ByteSink, oneFile: boolean): Promise<DeliveredExport> {
    await files.delete(EXPORT_GROUP);
    return new DeliveredExport(files, sink, oneFile);
  }

  create(name: string): Promise<ByteSink> {
    return this.files.write(EXPORT_GROUP, name);
  }

  open(name: string): Promise<ByteSource> {
    return this.files.open(EXPORT_GROUP, name);
  }

  async publish({ files }: Certificate): Promise<void> {
    const out = new HashingSink(this.sink);
    if (this.oneFile) await copyBytes(await this.open(files[0]!.name), out);
    else await writeZip(await Promise.all(files.map(async ({ name, sha256 }) => ({ name, sha256, source: await this.open(name) }))), out);
    await this.sink.close();
    this.delivered = out.written();
    await this.files.delete(EXPORT_GROUP);
  }

  /** The sink is aborted by whoever opened it. */
  discard(): Promise<void> {
    return this.files.delete(EXPORT_GROUP);
  }
}
