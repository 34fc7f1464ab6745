import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ByteSink, ByteSource } from '../core/bytes';
import type { Certificate } from '../core/certificate';
import type { Destination } from '../exports/write-export';
import { writeZip } from '../exports/zip';
import { FileSink, FileSource, replaceFile } from '../storage/node-file';

/** `model.gguf` → `model.certificate.json`, beside it. */
export function certificatePath(out: string): string {
  return `${out.replace(/\.(gguf|zip)$/i, '')}.certificate.json`;
}

/**
 * An export on disk: its files are written into OUT.part, a folder that nothing takes for a model's, and moved from there once
 * they are certified: to OUT itself where the export is one file, below OUT where it is several, or into the zip OUT.
 */
export class StagedExport implements Destination {
  private readonly staging: string;
  private readonly opened: FileSource[] = [];
  private names: string[] = [];

  private constructor(
    private readonly out: string,
    private readonly oneFile: boolean,
  ) {
    this.staging = `${out}.part`;
  }

  /** Clears away what an export that was killed left behind. */
  static async start(out: string, oneFile: boolean): Promise<StagedExport> {
    const staged = new StagedExport(out, oneFile);
    await rm(staged.staging, { recursive: true, force: true });
    return staged;
  }

  async create(name: string): Promise<ByteSink> {
    this.names.push(name);
    const path = join(this.staging, name);
    await mkdir(dirname(path), { recursive: true });
    return FileSink.create(path);
  }

  async open(name: string): Promise<ByteSource> {
    const source = await FileSource.open(join(this.staging, name));
    this.opened.push(source);
    return source;
  }

  async publish(certificate: Certificate): Promise<void> {
    await this.close();
    if (this.oneFile) await rename(join(this.staging, this.names[0]!), this.out);
    else if (this.isZip()) await this.zip(certificate);
    else await this.moveAll();
    await rm(this.staging, { recursive: true, force: true });
    await replaceFile(certificatePath(this.out), new TextEncoder().encode(`${JSON.stringify(certificate, null, 2)}\n`));
  }

  async discard(): Promise<void> {
    await this.close();
    await rm(this.staging, { recursive: true, force: true });
  }

  private isZip(): boolean {
    return this.out.toLowerCase().endsWith('.zip');
  }

  /** In the order of writing: weights, whose presence makes a folder a model, come last. */
  private async moveAll(): Promise<void> {
    for (const name of this.names) {
      await mkdir(dirname(join(this.out, name)), { recursive: true });
      await rename(join(this.staging, name), join(this.out, name));
    }
  }

  private async zip({ files }: Certificate): Promise<void> {
    const entries = [];
    for (const { name, sha256 } of files) entries.push({ name, sha256, source: await this.open(name) });
    const sink = await FileSink.create(this.out);
    try {
      await writeZip(entries, sink);
    } catch (error) {
      await sink.abort();
      throw error;
    }
    await sink.close();
    await this.close();
  }

  private async close(): Promise<void> {
    for (const source of this.opened.splice(0)) await source.close();
  }
}
