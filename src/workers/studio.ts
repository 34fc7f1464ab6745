import type { OnProgress } from '../core/progress';
import { parseRecipe } from '../training/recipe';
import type {
  AdapterSummary,
  DatasetInput,
  DatasetOptions,
  DatasetSummary,
  DeviceReport,
  Drift,
  ExportPlan,
  ExportRequest,
  ExportResult,
  Forecast,
  GenerateRequest,
  GenerateResult,
  HubFile,
  KeptCertificate,
  ModelInput,
  ModelSummary,
  RecipeInput,
  RequestRecord,
  RowPreview,
  RunEvent,
  RunHistory,
  RunSummary,
  StorageReport,
  StudioApi,
} from './api';
import { AdapterShelf } from './adapters';
import { CertificateShelf } from './certificates';
import { Chat } from './chat';
import { DatasetShelf } from './datasets';
import { DeviceDesk } from './device-desk';
import type { StudioEnvironment } from './environment';
import { Exporter } from './exporter';
import { ModelShelf } from './models';
import { Planner } from './planner';
import { TrainedShelf } from './trained-shelf';
import { Trainer } from './trainer';

/** Everything that the page can ask for, over whatever stores and GPU it is given. */
export class Studio implements StudioApi {
  private readonly desk: DeviceDesk;
  private readonly models: ModelShelf;
  private readonly datasets: DatasetShelf;
  private readonly planner: Planner;
  private readonly trainer: Trainer;
  private readonly trained: TrainedShelf;
  private readonly adapters: AdapterShelf;
  private readonly certificates: CertificateShelf;
  private readonly chat: Chat;
  private readonly exporter: Exporter;

  constructor(private readonly environment: StudioEnvironment) {
    this.desk = new DeviceDesk(environment);
    this.models = new ModelShelf(environment);
    this.datasets = new DatasetShelf(environment);
    this.planner = new Planner(this.models, this.datasets, this.desk, environment.runs);
    this.trained = new TrainedShelf(environment);
    this.adapters = new AdapterShelf(environment, this.models, this.trained);
    this.trainer = new Trainer(environment, this.planner, this.adapters, this.desk);
    this.chat = new Chat(this.models, this.trained, this.adapters, this.desk);
    this.certificates = new CertificateShelf(environment);
    this.exporter = new Exporter(environment, this.models, this.trained, this.adapters, this.certificates, this.desk);
  }

  device(): Promise<DeviceReport> {
    return this.desk.report();
  }
  async setBudget(bytes: number): Promise<void> {
    this.desk.setBudget(bytes);
  }

  openModel(input: ModelInput, onProgress: OnProgress): Promise<ModelSummary> {
    return this.models.open(input, onProgress);
  }
  listModels(): Promise<ModelSummary[]> {
    return this.models.list();
  }
  deleteModel(id: string): Promise<void> {
    return this.models.delete(id);
  }
  hubFiles(id: string, revision?: string): Promise<HubFile[]> {
    return this.models.hubFiles(id, revision);
  }
  async cancelOpen(): Promise<void> {
    this.models.cancel();
  }

  async openDataset(input: DatasetInput, modelId: string, options: DatasetOptions, onProgress: OnProgress): Promise<DatasetSummary> {
    return this.datasets.open(input, await this.models.get(modelId), options, onProgress);
  }
  async datasetSummary(id: string, modelId: string, options: DatasetOptions): Promise<DatasetSummary> {
    return this.datasets.summary(id, await this.models.get(modelId), options);
  }
  async previewRow(id: string, modelId: string, row: number, options: DatasetOptions): Promise<RowPreview> {
    return this.datasets.previewRow(id, await this.models.get(modelId), row, options);
  }

  async forecast(recipe: RecipeInput): Promise<Forecast> {
    const plan = await this.planner.prepare(parseRecipe(recipe));
    await this.trainer.initialAdapter(plan);
    return this.planner.forecast(plan);
  }
  measureDrift(recipe: RecipeInput, onProgress: OnProgress): Promise<Drift> {
    return this.planner.measureDrift(parseRecipe(recipe), onProgress);
  }
  async stopMeasuring(): Promise<void> {
    this.planner.stopMeasuring();
  }
  startRun(recipe: RecipeInput, name: string, onEvent: (event: RunEvent) => void): Promise<string> {
    return this.trainer.start(recipe, name, onEvent);
  }
  resumeRun(id: string, onEvent: (event: RunEvent) => void): Promise<void> {
    return this.trainer.resume(id, onEvent);
  }
  pauseRun(): Promise<void> {
    return this.trainer.pause();
  }
  stopRun(how: 'keep' | 'discard'): Promise<void> {
    return this.trainer.stop(how);
  }
  listRuns(): Promise<RunSummary[]> {
    return this.trainer.list();
  }
  runHistory(id: string): Promise<RunHistory> {
    return this.trainer.history(id);
  }
  renameRun(id: string, name: string): Promise<void> {
    return this.trainer.rename(id, name);
  }
  async deleteRun(id: string): Promise<void> {
    await this.trainer.delete(id);
    await this.certificates.delete(id);
  }

  listAdapters(): Promise<AdapterSummary[]> {
    return this.adapters.list();
  }
  importAdapter(files: File[], modelId: string, name?: string): Promise<AdapterSummary> {
    return this.adapters.importFiles(files, modelId, name);
  }
  mergeAdapters(parts: { id: string; weight: number }[], name: string): Promise<AdapterSummary> {
    return this.adapters.merge(parts, name);
  }
  renameAdapter(id: string, name: string): Promise<void> {
    return this.adapters.rename(id, name);
  }
  async deleteAdapter(id: string): Promise<void> {
    await this.adapters.delete(id);
    await this.certificates.delete(id);
  }

  generate(request: GenerateRequest, onText: (piece: string) => void, onProgress?: OnProgress): Promise<GenerateResult> {
    return this.chat.generate(request, onText, onProgress);
  }
  async stopGenerating(): Promise<void> {
    this.chat.stop();
  }

  planExport(request: ExportRequest): Promise<ExportPlan> {
    return this.exporter.plan(request);
  }
  runExport(request: ExportRequest, destination: WritableStream<Uint8Array> | null, onProgress: OnProgress): Promise<ExportResult> {
    return this.exporter.run(request, destination, onProgress);
  }
  listCertificates(): Promise<KeptCertificate[]> {
    return this.certificates.list();
  }

  requests(): Promise<RequestRecord[]> {
    return Promise.resolve(this.environment.hub.requests().map(({ time, host, bytes, reason }) => ({ time, host, bytes, reason })));
  }
  async storage(): Promise<StorageReport> {
    const { estimate, runs, checkpoints } = this.environment;
    const kept = [];
    for (const { id, name } of await runs.list()) {
      const bytes = (await checkpoints(id).list()).reduce((sum, saved) => sum + saved.bytes, 0);
      kept.push({ id, name, bytes });
    }
    const [models, datasets, adapters] = [await this.models.kept(), await this.datasets.list(), await this.adapters.kept()];
    return { ...(await estimate()), models, datasets, adapters, runs: kept };
  }
  /** Stops what goes on and forgets models, data sets, adapters and runs. */
  async deleteEverything(): Promise<void> {
    await this.trainer.stop('discard');
    await this.chat.free();
    this.models.forget();
    this.datasets.forget();
    this.trained.forget();
    this.adapters.forget();
    await this.environment.deleteEverything();
  }
}
