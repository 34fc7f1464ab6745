import type { ByteSource } from '../core/bytes';
import { DeviceError } from '../core/errors';
import type { OnProgress } from '../core/progress';
import { Sha256, sha256 } from '../core/sha256';
import { VERSION } from '../core/version';
import { tokenizerFiles } from '../data/tokenizer/tokenizer-files';
import { prepareExport, subjectOf, trainedModel, type Choice, type Subject } from '../exports/kinds';
import type { CardFacts } from '../exports/model-card';
import { fileStem } from '../exports/names';
import { isOneFile, planExport } from '../exports/plan';
import { writeExport, type Examination, type Provenance } from '../exports/write-export';
import { baseName } from '../safetensors/json';
import { unknownRun, type RunRecord } from '../storage/runs';
import { BlobSink, StreamSink } from '../storage/sinks';
import { Trial } from '../training/answers';
import { loraWords, parseRecipe } from '../training/recipe';
import type { Trained } from '../training/trained';
import type { ExportPlan, ExportRequest, ExportResult } from './api';
import type { AdapterShelf } from './adapters';
import type { CertificateShelf } from './certificates';
import { DeliveredExport } from './delivered-export';
import type { DeviceDesk } from './device-desk';
import type { StudioEnvironment } from './environment';
import type { ModelShelf, OpenModel } from './models';
import type { TrainedShelf } from './trained-shelf';
import { ADAPTER_IDS } from './kept-ids';

/** An export's parts: what is written, and what the plan says of it. */
interface Job {
  choice: Choice;
  subject: Subject;
  model: OpenModel;
  /** Of what a run has learned; null for a kept adapter. */
  record: RunRecord | null;
}

/** What was learned, over which model. */
interface Learned extends Pick<Job, 'record' | 'model'> {
  learned: Subject['learned'] | Trained;
  card: CardFacts;
}

/** Takes runs and kept adapters out of the browser as files, each held against the trained model before it is handed over. */
export class Exporter {
  /** Hashes of bases and data sets, which take minutes for large ones, by id. */
  private readonly hashes = new Map<string, string>();
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly environment: Pick<StudioEnvironment, 'runs' | 'files'>,
    private readonly models: ModelShelf,
    private readonly trained: TrainedShelf,
    private readonly adapters: AdapterShelf,
    private readonly certificates: CertificateShelf,
    private readonly desk: DeviceDesk,
  ) {}

  /** Name, exact size, texts beside it and commands of an export. Throws an ExportError where there is nothing to export. */
  async plan(request: ExportRequest): Promise<ExportPlan> {
    const { subject, choice } = await this.job(request);
    return planExport(subject, choice, await prepareExport(subject, choice));
  }

  /** Writes an export to a stream, or into a Blob where none is given, once it is certified. Exports wait for each other. */
  run(request: ExportRequest, destination: WritableStream<Uint8Array> | null, onProgress: OnProgress): Promise<ExportResult> {
    const turn = this.last.then(() => this.write(request, destination, onProgress));
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private async write(request: ExportRequest, destination: WritableStream<Uint8Array> | null, onProgress: OnProgress): Promise<ExportResult> {
    const blob = destination ? null : new BlobSink('application/octet-stream');
    const sink = blob ?? new StreamSink(destination!);
    try {
      const job = await this.job(request);
      const prepared = await prepareExport(job.subject, job.choice);
      const delivery = await DeliveredExport.start(this.environment.files, request.runId, sink, isOneFile(prepared));
      const written = await writeExport(prepared, delivery, await this.examination(job), await this.provenance(job, onProgress), onProgress);
      const { fileName } = planExport(job.subject, job.choice, prepared);
      const delivered = delivery.delivered!;
      const archive = isOneFile(prepared) ? null : { name: fileName, ...delivered };
      const certificate = { ...written, archive };
      // What is certified is in the person's hands by now: a store that is full takes nothing from it.
      const isCertificateKept = await this.certificates.keep({ subject: request.runId, fileName, certificate }, delivered.sha256).then(
        () => true,
        () => false,
      );
      return { fileName, ...delivered, blob: blob?.blob() ?? null, certificate, isCertificateKept };
    } catch (error) {
      // A sink that was closed or aborted takes no harm.
      await sink.abort(error).catch(() => undefined);
      throw error;
    }
  }

  private async job({ runId, kind, type, checkpoint, name }: ExportRequest): Promise<Job> {
    const { record, model, learned, card } = runId.startsWith(ADAPTER_IDS) ? await this.kept(runId, name) : await this.ofRun(runId, checkpoint ?? 'best', name);
    const subject = subjectOf(model.source, model.language, learned, card, () => tokenizerFiles(model.source.tokenizer));
    return { choice: { kind, type, stem: fileStem(name) }, subject, record, model };
  }

  private async ofRun(runId: string, checkpoint: 'best' | 'last', name: string): Promise<Learned> {
    const record = await this.environment.runs.get(runId);
    if (!record) throw unknownRun(runId);
    const model = await this.models.get(record.modelId);
    const learned = await this.trained.load(runId, checkpoint, model.source.config);
    return { record, model, learned, card: cardOf(name, record, learned) };
  }

  private async kept(id: string, name: string): Promise<Learned> {
    const { model, adapter, card } = await this.adapters.open(id);
    return { record: null, model, learned: { kind: 'adapter', adapter }, card: { ...card, name } };
  }

  private async examination({ subject, record }: Job): Promise<Examination> {
    const trained = trainedModel(subject, record ? parseRecipe(record.recipe).quantize_base : 'none');
    try {
      return { trained, judge: new Trial(await this.desk.lendToChat(), subject.model) };
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      return { trained, judge: null, reason: `the GPU could not be had (${error.message.replace(/\.$/, '')})` };
    }
  }

  private async provenance({ record, model }: Job, onProgress: OnProgress): Promise<Provenance> {
    const recipe = record && parseRecipe(record.recipe);
    return {
      base: { name: model.source.name, sha256: recipe?.model_sha256 ?? (await this.hash(model.id, model.source.files, onProgress)) },
      dataset: record && { name: record.datasetName, sha256: recipe?.dataset.sha256 ?? (await this.hash(record.datasetId, await this.datasetFiles(record), onProgress)) },
      recipe_sha256: recipe && sha256(new TextEncoder().encode(JSON.stringify(recipe))),
      program: `hone ${VERSION}`,
    };
  }

  private async datasetFiles({ datasetId }: RunRecord): Promise<ByteSource[]> {
    const { files } = this.environment;
    const kept = (await files.list()).filter(({ group, complete }) => group === datasetId && complete);
    return Promise.all(kept.map(({ group, name }) => files.open(group, name)));
  }

  /** SHA-256 of a file; of several, that of the list `sha256sum` prints of them in name order. Null where there is none. */
  private async hash(id: string, files: readonly ByteSource[], onProgress: OnProgress): Promise<string | null> {
    const known = this.hashes.get(id);
    if (known !== undefined) return known;
    if (files.length === 0) return null;
    const lines: string[] = [];
    let digest = '';
    for (const file of [...files].sort((a, b) => (baseName(a) < baseName(b) ? -1 : 1))) {
      digest = await hashOf(file, onProgress);
      lines.push(`${digest}  ${baseName(file)}\n`);
    }
    const hash = lines.length === 1 ? digest : sha256(new TextEncoder().encode(lines.join('')));
    this.hashes.set(id, hash);
    return hash;
  }
}

const PIECE = 4 * 2 ** 20;

async function hashOf(file: ByteSource, onProgress: OnProgress): Promise<string> {
  const hash = new Sha256();
  for (let at = 0; at < file.size; at += PIECE) {
    hash.update(await file.read(at, Math.min(PIECE, file.size - at)));
    onProgress({ label: `Hashing ${baseName(file)}`, done: Math.min(at + PIECE, file.size), total: file.size, unit: 'bytes' });
  }
  return hash.hex();
}

function cardOf(name: string, record: RunRecord, { step }: Trained): CardFacts {
  const { lora, training } = parseRecipe(record.recipe);
  const facts = [
    { label: 'Data set', value: record.datasetName },
    { label: 'Steps', value: `${step} of ${record.totalSteps}` },
    { label: 'Learning rate', value: `${training.learning_rate} (${training.lr_scheduler_type})` },
    ...(lora ? [{ label: 'LoRA', value: loraWords(lora) }] : []),
    ...(record.evalLoss === null ? [] : [{ label: 'Held-out loss', value: record.evalLoss.toFixed(4) }]),
  ];
  return { name, baseModel: record.modelName, facts };
}
