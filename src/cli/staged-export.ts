import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ByteSink, ByteSource } from '../core/bytes';
import type { Certificate, CertifiedFile } from '../core/certificate';
import { StorageError } from '../core/errors';
import { writeFile } from '../exports/hashing-sink';
import type { Destination } from '../exports/write-export';
import { writeZip, type ZipEntry } from '../exports/zip';
import { FileSink, FileSource, replaceFile } from '../storage/node-file';

/** `model.gguf` → `model.certificate.json`, beside it. */
export function certificatePath(out: string): string {
  return `${out.replace(/\.(gguf|zip)$/i, '')}.certificate.json`;
}

/**
 * An export on disk: its files are written into OUT.unfinished, a folder that nothing takes for a model's, and moved from there once
 * they are certified: to OUT itself where the export is one file, below OUT where it is several, or into the zip OUT.
 */
export class StagedExport implements Destination {
  private readonly staging: string;
  private readonly opened: FileSource[] = [];
  private readonly names: string[] = [];

  private constructor(
    private readonly out: string,
    private readonly oneFile: boolean,
  ) {
    this.staging = `${out}.unfinished`;
  }

  /** Clears away what an export that was killed left behind. Throws a StorageError where OUT is taken by something else. */
  static async start(out: string, oneFile: boolean, names: readonly string[]): Promise<StagedExport> {
    const staged = new StagedExport(out, oneFile);
    await refuseOther(out, oneFile || staged.isZip(), names);
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
    const archive = !this.oneFile && this.isZip() ? await this.zip(certificate) : null;
    if (this.oneFile) await rename(join(this.staging, this.names[0]!), this.out);
    else if (!archive) await this.moveAll();
    await rm(this.staging, { recursive: true, force: true });
    await replaceFile(certificatePath(this.out), new TextEncoder().encode(`${JSON.stringify({ ...certificate, archive }, null, 2)}\n`));
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

  private async zip({ files }: Certificate): Promise<CertifiedFile> {
    const entries: ZipEntry[] = [];
    for (const { name, sha256 } of files) entries.push({ name, sha256, source: await this.open(name) });
    const written = await writeFile(await FileSink.create(this.out), (sink) => writeZip(entries, sink));
    await this.close();
    return { name: basename(this.out), ...written };
  }

  private async close(): Promise<void> {
    for (const source of this.opened.splice(0)) await source.close();
  }
}

/** A folder's other files would be taken for parts of the export: shards of an older one, another model's config. */
async function refuseOther(out: string, wantsFile: boolean, names: readonly string[]): Promise<void> {
  const info = await stat(out).catch(() => null);
  if (!info) return;
  if (wantsFile && info.isDirectory()) throw new StorageError(`${out} is a folder, and this export is one file; give the name of a file.`);
  if (wantsFile) return;
  if (!info.isDirectory()) throw new StorageError(`${out} is a file, and this export is a folder; give the name of a folder.`);
  if (names.some((name) => name.includes('/'))) return;
  const other = (await readdir(out)).find((name) => !names.includes(name));
  if (other !== undefined) throw new StorageError(`${out} holds other files (${other}), which would be taken for parts of the export; give a new folder.`);
}
