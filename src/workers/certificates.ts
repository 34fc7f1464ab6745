import { MemorySource } from '../core/bytes';
import type { StoredFile } from '../storage/files';
import type { KeptCertificate } from './api';
import type { StudioEnvironment } from './environment';
import { CERTIFICATE_IDS } from './kept-ids';

/** The certificates of what was exported from this browser, a small file each, as long as the run or adapter is kept. */
export class CertificateShelf {
  constructor(private readonly environment: Pick<StudioEnvironment, 'files'>) {}

  /** Keeps one beside earlier ones; the same bytes exported again have their newest certificate. */
  async keep(kept: KeptCertificate, sha256: string): Promise<void> {
    const name = `${sha256}.json`;
    await this.environment.files.put(CERTIFICATE_IDS + kept.subject, name, new MemorySource(new TextEncoder().encode(JSON.stringify(kept)), name));
  }

  /** Newest first. */
  async list(): Promise<KeptCertificate[]> {
    const { files } = this.environment;
    const found = (await files.list()).filter(({ group, complete }) => complete && group.startsWith(CERTIFICATE_IDS));
    const kept = await Promise.all(found.map((file) => this.read(file)));
    return kept.sort((a, b) => (a.certificate.made < b.certificate.made ? 1 : -1));
  }

  /** Forgets the certificates of a run or adapter; nothing happens where there are none. */
  delete(subject: string): Promise<void> {
    return this.environment.files.delete(CERTIFICATE_IDS + subject);
  }

  private async read({ group, name }: StoredFile): Promise<KeptCertificate> {
    const source = await this.environment.files.open(group, name);
    return JSON.parse(new TextDecoder().decode(await source.read(0, source.size))) as KeptCertificate;
  }
}
