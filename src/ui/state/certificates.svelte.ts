import type { KeptCertificate } from '../../workers/api';
import { studio, toFailure, type Failure } from './studio';

/** The certificates that this browser keeps, newest first. */
class Certificates {
  list = $state.raw<KeptCertificate[]>([]);
  failure = $state.raw<Failure | null>(null);

  async load(): Promise<void> {
    try {
      this.list = await studio.listCertificates();
      this.failure = null;
    } catch (thrown) {
      this.failure = toFailure(thrown);
    }
  }

  /** Those of a run, by its id or its adapter's, or of a kept adapter. */
  of(id: string): KeptCertificate[] {
    const subject = id.replace(/^run:/, '');
    return this.list.filter((kept) => kept.subject === subject);
  }
}

export const certificates = new Certificates();
