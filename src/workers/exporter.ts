import { ExportError } from '../core/errors';
import type { OnProgress } from '../core/progress';
import { exportGgufAdapter } from '../exports/gguf-adapter';
import { exportMergedGguf, type MergedModel } from '../exports/gguf-model';
import type { Written } from '../exports/hashing-sink';
import type { CardFacts } from '../exports/model-card';
import { exportPeft } from '../exports/peft';
import { planGgufAdapter, planMerged, planPeft, type PlanFacts } from '../exports/plan';
import type { RunRecord } from '../storage/runs';
import { BlobSink, StreamSink } from '../storage/sinks';
import { unknownRun } from '../storage/runs';
import type { Trained } from '../training/trained';
import { loraWords, parseRecipe } from '../training/recipe';
import type { ExportPlan, ExportRequest, ExportResult } from './api';
import type { StudioEnvironment } from './environment';
import type { ModelShelf, OpenModel } from './models';
import type { TrainedShelf } from './trained-shelf';

/** An export's parts: what is written, and what the plan says of it. */
interface Job {
  request: ExportRequest;
  record: RunRecord;
  model: OpenModel;
  trained: Trained;
}

/** Takes runs out of the browser as files. */
export class Exporter {
  constructor(
    private readonly environment: Pick<StudioEnvironment, 'runs'>,
    private readonly models: ModelShelf,
    private readonly trained: TrainedShelf,
  ) {}

  /** Name, exact size, texts beside it and commands of an export. Throws an ExportError where there is nothing to export. */
  async plan(request: ExportRequest): Promise<ExportPlan> {
    return planOf(await this.job(request));
  }

  /** Writes an export to a stream, or into a Blob where none is given. */
  async run(request: ExportRequest, destination: WritableStream<Uint8Array> | null, onProgress: OnProgress): Promise<ExportResult> {
    const blob = destination ? null : new BlobSink(request.kind === 'peft' ? 'application/zip' : 'application/octet-stream');
    const sink = blob ?? new StreamSink(destination!);
    let job: Job;
    try {
      job = await this.job(request);
    } catch (error) {
      await sink.abort(error);
      throw error;
    }
    const { bytes, sha256 } = await write(job, sink, onProgress);
    return { fileName: planOf(job).fileName, bytes, sha256, blob: blob?.blob() ?? null };
  }

  private async job(request: ExportRequest): Promise<Job> {
    const record = await this.environment.runs.get(request.runId);
    if (!record) throw unknownRun(request.runId);
    const model = await this.models.get(record.modelId);
    const trained = await this.trained.load(request.runId, request.checkpoint ?? 'best', model.source.config);
    return { request, record, model, trained };
  }
}

function planOf(job: Job): ExportPlan {
  const { request, trained } = job;
  switch (request.kind) {
    case 'peft':
      return planPeft(factsOf(job), adapterOf(trained), cardOf(job));
    case 'gguf-adapter':
      return planGgufAdapter(factsOf(job), adapterOf(trained));
    case 'gguf':
      return planMerged(factsOf(job), mergedOf(job));
  }
}

function write(job: Job, sink: BlobSink | StreamSink, onProgress: OnProgress): Promise<Written> {
  const { request, model, trained } = job;
  switch (request.kind) {
    case 'peft':
      return exportPeft({ adapter: adapterOf(trained), card: cardOf(job) }, sink, onProgress);
    case 'gguf-adapter':
      return exportGgufAdapter({ adapter: adapterOf(trained), config: model.source.config, name: request.name }, sink, onProgress);
    case 'gguf':
      return exportMergedGguf(mergedOf(job), sink, onProgress);
  }
}

function factsOf({ request, model }: Job): PlanFacts {
  const { tokenizer, template } = model.language;
  return { name: request.name, model: model.source, chatTemplate: tokenizer ? template.template : null, eosToken: tokenizer?.eosToken ?? '' };
}

function mergedOf({ request, model, trained }: Job): MergedModel {
  const { tokenizer, template } = model.language;
  return {
    model: model.source,
    name: request.name,
    type: request.type ?? 'F16',
    ...(trained.kind === 'adapter' ? { adapter: trained.adapter } : { weights: new Map([...trained.weights].map(([name, { data }]) => [name, data])) }),
    chatTemplate: tokenizer ? template.template : null,
    encode: tokenizer && ((text) => tokenizer.encode(text, { parseSpecial: false })),
  };
}

function adapterOf(trained: Trained): Extract<Trained, { kind: 'adapter' }>['adapter'] {
  if (trained.kind === 'adapter') return trained.adapter;
  throw new ExportError('This run trained every weight, so it has no adapter; export the merged model.');
}

function cardOf({ request, record, trained }: Job): CardFacts {
  const { lora, training } = parseRecipe(record.recipe);
  const facts = [
    { label: 'Data set', value: record.datasetName },
    { label: 'Steps', value: `${trained.step} of ${record.totalSteps}` },
    { label: 'Learning rate', value: `${training.learning_rate} (${training.lr_scheduler_type})` },
    ...(lora ? [{ label: 'LoRA', value: loraWords(lora) }] : []),
    ...(record.evalLoss === null ? [] : [{ label: 'Held-out loss', value: record.evalLoss.toFixed(4) }]),
  ];
  return { name: request.name, baseModel: record.modelName, facts };
}
