import type { ByteSink, ByteSource } from '../core/bytes';
import type { AnswersReport, Certificate, CertifiedFile, NamedHash, WeightsReport } from '../core/certificate';
import { ExportError } from '../core/errors';
import type { OnProgress } from '../core/progress';
import { Sha256 } from '../core/sha256';
import { answersInWords, compareAnswers, type Judge, type TrainedModel } from './certify';
import { checkAdapterTensors } from './check-adapter';
import { checkConfigs } from './check-config';
import { checkWeights } from './check-weights';
import type { Prepared, Reopened } from './kinds';

/** Where an export's files go: under names that no reader takes for whole until they are published. */
export interface Destination {
  /** `bytes`: how many will be written. */
  create: (name: string, bytes: number) => Promise<ByteSink>;
  /** What was written, opened anew. */
  open: (name: string) => Promise<ByteSource>;
  /** Gives the files their own names, with the certificate beside them. */
  publish: (certificate: Certificate) => Promise<void>;
  /** Forgets what was written. */
  discard: () => Promise<void>;
}

/** What the export is held against. */
export interface Examination {
  trained: TrainedModel;
  /** Null where there is no GPU to answer, for a `reason` that ends a sentence. */
  judge: Judge | null;
  reason?: string;
}

/** Where the trained model comes from, and what writes the file. */
export interface Provenance {
  base: NamedHash;
  dataset: NamedHash | null;
  recipe_sha256: string | null;
  program: string;
}

/**
 * Writes an export, reads it again from the bytes that were written, compares bytes, config, tokenizer, weights and answers
 * with the trained model, and publishes it with its certificate. Where anything differs by more than the format explains,
 * nothing is left and the error says what differs.
 */
export async function writeExport(
  prepared: Prepared,
  destination: Destination,
  examination: Examination,
  provenance: Provenance,
  onProgress: OnProgress = () => undefined,
): Promise<Certificate> {
  try {
    const files = await writeFiles(prepared, destination, onProgress);
    const sources = await readAgain(files, destination, onProgress);
    const reopened = await prepared.read(sources);
    const { weights, lost } = await checkContent(reopened, examination, onProgress);
    const answers = examination.judge && (await compareAnswers(examination.judge, examination.trained, withType(reopened, prepared), onProgress));
    const certificate: Certificate = {
      words: words(answers, prepared, examination, lost),
      kind: prepared.kind,
      type: prepared.type,
      files,
      archive: null,
      ...provenance,
      weights,
      answers,
      device: examination.judge?.device ?? null,
      made: new Date().toISOString(),
    };
    await destination.publish(certificate);
    return certificate;
  } catch (error) {
    await destination.discard();
    throw error;
  }
}

async function writeFiles({ files }: Prepared, destination: Destination, onProgress: OnProgress): Promise<CertifiedFile[]> {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const written: CertifiedFile[] = [];
  let before = 0;
  for (const { name, bytes: expected, write } of files) {
    const { bytes, sha256 } = await write(await destination.create(name, expected), (done) => onProgress({ label: 'Writing', done: before + done, total, unit: 'bytes' }));
    if (bytes !== expected) throw new ExportError(`${name} has ${bytes} bytes, and ${expected} were announced; please report this with the model's name.`);
    before += bytes;
    written.push({ name, bytes, sha256 });
  }
  return written;
}

const PIECE = 4 * 2 ** 20;

/** Opens every file and reads all of it. Throws an ExportError where its bytes are not those that were written. */
async function readAgain(files: readonly CertifiedFile[], destination: Destination, onProgress: OnProgress): Promise<ByteSource[]> {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const sources: ByteSource[] = [];
  let done = 0;
  for (const { name, bytes, sha256 } of files) {
    const source = await destination.open(name);
    const hash = new Sha256();
    for (let at = 0; at < source.size; at += PIECE) {
      const piece = await source.read(at, Math.min(PIECE, source.size - at));
      hash.update(piece);
      onProgress({ label: 'Reading it again', done: (done += piece.byteLength), total, unit: 'bytes' });
    }
    if (source.size !== bytes || hash.hex() !== sha256) {
      throw new ExportError(`${name} does not hold the bytes that were written to it (${source.size} of ${bytes}), so no file was kept; check the disk and export again.`);
    }
    sources.push(source);
  }
  return sources;
}

async function checkContent(reopened: Reopened, { trained, judge }: Examination, onProgress: OnProgress): Promise<{ weights: WeightsReport; lost: string[] }> {
  if (reopened.kind === 'adapter') return { weights: checkAdapterTensors(reopened.trained, reopened.adapter), lost: [] };
  const { source, merged } = reopened;
  const lost = checkConfigs(source.name, merged.config, source.config);
  if (source.tokenizer) judge?.checkPrompts(source);
  else if (trained.source.tokenizer) lost.push('The tokenizer has no place in this form: take its files from the original model.');
  let done = 0;
  const report = (bytes: number): void => onProgress({ label: 'Comparing weights', done: (done += bytes), total: source.bytes, unit: 'bytes' });
  return { weights: await checkWeights(reopened, source, report), lost };
}

function withType(reopened: Reopened, { type }: Prepared): Parameters<typeof compareAnswers>[2] {
  return reopened.kind === 'adapter' ? reopened : { ...reopened, type: type! };
}

function words(answers: AnswersReport | null, { type }: Prepared, { trained, reason }: Examination, lost: readonly string[]): string {
  const first = answers
    ? answersInWords(answers, type, trained.roundedTo)
    : `Every weight of the file was read again and is what it should be; its answers were not compared, because ${reason}.`;
  return [first, ...lost].join(' ');
}
