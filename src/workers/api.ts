/**
 * The only contract between the page and the workers. Everything here can be structured-cloned;
 * functions (callbacks) are passed through Comlink.proxy. Errors arrive as Error with the name of a
 * HoneError class and one sentence as message.
 */
import type { Progress } from '../core/progress';
import type { LoraConfig } from '../core/adapter';
import type { Certificate } from '../core/certificate';
import type { FileType, Projection, WeightType } from '../core/model';
import type { Recipe, RecipeInput } from '../training/recipe';
import type { Drift, EvalPoint, MetricPoint, RunHistory, SamplePoint } from '../core/metrics';
export type { Drift, EvalPoint, MetricPoint, RunHistory, SamplePoint } from '../core/metrics';

export { parseRecipe, recipeSchema, RECIPE_FIELDS } from '../training/recipe';
export type { FieldHelp, Recipe, RecipeInput } from '../training/recipe';
export { matchesPattern, patternComplaint } from '../core/adapter';
export { PROJECTIONS, projectionPath } from '../core/model';
export type { Projection, WeightType } from '../core/model';
export type { AnswerDifference, Certificate } from '../core/certificate';
export type { Progress } from '../core/progress';

// ---- device -------------------------------------------------------------------------------------

export interface DeviceReport {
  /** ready: can train. software: can, about 100 times slower. unsupported / none: cannot, `message` says why and what to do. */
  status: 'ready' | 'software' | 'unsupported' | 'none';
  message: string;
  /** vendor architecture description, as far as the browser tells. */
  name: string;
  features: string[];
  /** Bytes. */
  maxBufferSize: number;
  maxStorageBufferBindingSize: number;
  /** Memory that runs are planned against, bytes. Browsers hide the true figure. */
  budget: number;
}

// ---- models -------------------------------------------------------------------------------------

export type ModelInput =
  | { kind: 'demo' }
  | { kind: 'files'; files: File[] }
  /** `file`: one GGUF of the repository; left out: its safetensors. */
  | { kind: 'hub'; id: string; revision?: string; file?: string }
  | { kind: 'stored'; id: string };

export interface ModelSummary {
  /** Key for all later calls and for `recipe.model`. */
  id: string;
  name: string;
  format: 'gguf' | 'safetensors';
  architecture: string;
  parameters: number;
  bytes: number;
  /** Weight types and how many tensors have each. */
  types: Partial<Record<WeightType, number>>;
  contextLength: number;
  vocabulary: number;
  layers: number;
  hiddenSize: number;
  /** What an adapter can be trained on, in the decoder's order. */
  projections: Projection[];
  /** Whether `quantize_base` makes it smaller: some matrices are stored in 16 or 32 bits. */
  quantizable: boolean;
  hasTokenizer: boolean;
  /** Where the chat template came from: the model's own or a named default. */
  chatTemplate: string;
  /** Kept in this browser, can be opened again without its files. */
  stored: boolean;
}

/** A file of a hub repository that could be opened as a model. */
export interface HubFile {
  path: string;
  bytes: number;
}

// ---- data sets ----------------------------------------------------------------------------------

export type DatasetFormat = 'messages' | 'sharegpt' | 'prompt-completion' | 'alpaca' | 'text' | 'tokens';

export type DatasetInput =
  | { kind: 'demo' }
  | { kind: 'file'; file: File }
  | { kind: 'text'; text: string; name: string }
  | { kind: 'stored'; id: string };

export interface DatasetOptions {
  format?: DatasetFormat;
  trainOn?: 'replies' | 'last' | 'all';
  maxLength?: number;
  evalFraction?: number;
}

export interface DatasetProblem {
  severity: 'block' | 'warn' | 'note';
  /** What is wrong, in words: "12 rows have an empty reply". */
  message: string;
  /** Row numbers, counted from 1 (the first 1,000). */
  rows: number[];
  count: number;
}

export interface DatasetSummary {
  id: string;
  name: string;
  format: DatasetFormat;
  /** Rows in the file, and rows that can be used. */
  rows: number;
  usable: number;
  trainRows: number;
  evalRows: number;
  /** Of the usable rows, before cutting. */
  tokens: { total: number; trained: number; median: number; p95: number; max: number };
  /** Token counts per row: `counts[i]` rows with lengths in [edges[i], edges[i+1]). */
  histogram: { edges: number[]; counts: number[] };
  tooLong: number;
  problems: DatasetProblem[];
  /** Row numbers that can be previewed (usable ones). */
  firstRow: number;
}

export interface RowPreview {
  row: number;
  /** The whole rendered text in pieces, one a token. */
  tokens: { id: number; text: string; trained: boolean; special: boolean }[];
  trained: number;
  /** True where the row is longer than the limit: tokens past it are not in `tokens`. */
  cut: boolean;
}

// ---- runs ---------------------------------------------------------------------------------------

export interface Forecast {
  /** Bytes, by what they are for; `total` is their sum and what the planner will allocate. */
  memory: { model: number; adapter: number; optimizer: number; activations: number; logits: number; other: number; total: number };
  budget: number;
  verdict: 'fits' | 'tight' | 'too big';
  steps: number;
  tokensPerStep: number;
  /** Seconds, or null before speed was measured on this device. */
  seconds: number | null;
  trainableParameters: number;
}

export type RunStatus = 'running' | 'paused' | 'stopped' | 'interrupted' | 'done' | 'failed';

export interface RunSummary {
  id: string;
  name: string;
  status: RunStatus;
  recipe: Recipe;
  modelName: string;
  datasetName: string;
  step: number;
  totalSteps: number;
  /** Last checkpoint's step, 0 where there is none yet. */
  savedStep: number;
  bestStep: number | null;
  lastLoss: number | null;
  evalLoss: number | null;
  /** What quantising the base costs on the run's rows; null where it was not quantised. */
  drift: Drift | null;
  createdAt: number;
  updatedAt: number;
  /** Why it failed, in a sentence. */
  message: string | null;
}

export type RunEvent =
  | { type: 'status'; status: RunStatus; message: string | null }
  | { type: 'preparing'; progress: Progress }
  | { type: 'drift'; drift: Drift }
  | { type: 'step'; point: MetricPoint; totalSteps: number; secondsLeft: number | null; memory: number }
  | { type: 'eval'; point: EvalPoint }
  | { type: 'sample'; point: SamplePoint }
  | { type: 'saved'; step: number };

// ---- adapters -----------------------------------------------------------------------------------

/** An adapter that this browser has: a run's, or one that a person imported or merged. */
export interface AdapterSummary {
  /** Names it in every call and in `lora.init_adapter`: `run:ID` (the best checkpoint, else the last) or `adapter:HASH`. */
  id: string;
  name: string;
  origin: 'run' | 'imported' | 'merged';
  /** The base it fits. */
  modelId: string;
  modelName: string;
  /** What its files call their base; null where they name none. */
  madeFor: string | null;
  /** Its shape, as a recipe that goes on with it has to have it. */
  lora: Pick<NonNullable<Recipe['lora']>, 'r' | 'lora_alpha' | 'target_modules' | 'use_rslora' | 'use_dora' | 'rank_pattern' | 'alpha_pattern'>;
  /** Of a merged one. */
  parts: { name: string; weight: number }[];
  /** Bytes of its files; null for a run's, which lies in its checkpoints. */
  bytes: number | null;
  evalLoss: number | null;
  createdAt: number;
}

export interface AdapterUse {
  id: string;
  /** 1: as it was trained, 0: not at all. */
  strength: number;
}

// ---- try ----------------------------------------------------------------------------------------

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

export interface GenerateRequest {
  modelId: string;
  /** Whose training answers; null: the base, by itself or through `adapters`. */
  runId: string | null;
  /** Which checkpoint of the run; left out: best where there is one, else last. */
  checkpoint?: 'best' | 'last';
  /** How strongly the run's adapter acts; left out: 1. */
  strength?: number;
  /** More adapters of the same base, at work together with the run's. */
  adapters?: AdapterUse[];
  /** What the base is held in, for both sides alike; left out: as it is. */
  quantizeBase?: Recipe['quantize_base'];
  messages: ChatMessage[];
  maxTokens: number;
  /** 0 is greedy. */
  temperature: number;
  topK: number;
  topP: number;
  seed: number;
}

export interface GenerateResult {
  text: string;
  tokens: number;
  tokensPerSecond: number;
  secondsToFirst: number;
  reason: 'end' | 'limit' | 'stopped';
}

// ---- export -------------------------------------------------------------------------------------

/** Several files (all but gguf and gguf-adapter) come as one zip. */
export type ExportKind = 'gguf' | 'gguf-adapter' | 'peft' | 'safetensors' | 'mlx' | 'modelfile' | 'lmstudio';
export type { FileType as MergedType } from '../core/model';

export interface ExportRequest {
  /** A run's id, or a kept adapter's. */
  runId: string;
  kind: ExportKind;
  /** Of merged weights. safetensors takes F32, F16 and BF16; left out: F16, and for safetensors what the base has. modelfile: with a type the merged model, else the adapter. */
  type?: FileType;
  checkpoint?: 'best' | 'last';
  /** File name without its ending. */
  name: string;
}

export interface ExportPlan {
  fileName: string;
  /** Size of the main file, from tensor shapes. */
  bytes: number;
  /** What an adapter works over: the base, the file that the commands name where they name one, and how to come by it; null for whole models. */
  base: { name: string; file: string | null; note: string | null } | null;
  /** Small text files that go beside it (Modelfile). */
  companions: { fileName: string; text: string }[];
  /** Commands to run next, ready to copy. */
  commands: { runs: string; command: string }[];
}

export interface ExportResult {
  fileName: string;
  bytes: number;
  sha256: string;
  /** Present where no destination was given: the file for a download. */
  blob: Blob | null;
  /** How the file was read again and compared with the trained model; to be saved as JSON beside it. */
  certificate: Certificate;
  /** Whether this browser had room to keep the certificate. */
  isCertificateKept: boolean;
}

/** A certificate that this browser keeps until what was exported is deleted. */
export interface KeptCertificate {
  /** A run's id, or a kept adapter's. */
  subject: string;
  /** What was saved: the file, or the zip of several. */
  fileName: string;
  certificate: Certificate;
}

// ---- storage ------------------------------------------------------------------------------------

export interface StorageReport {
  used: number;
  quota: number;
  persisted: boolean;
  models: { id: string; name: string; bytes: number }[];
  datasets: { id: string; name: string; bytes: number }[];
  adapters: { id: string; name: string; bytes: number }[];
  runs: { id: string; name: string; bytes: number }[];
}

/** One request of the worker's to the network. */
export interface RequestRecord {
  /** Milliseconds since 1970. */
  time: number;
  /** Who sent the bytes. */
  host: string;
  /** Body bytes received so far. */
  bytes: number;
  /** Why, in words: "list of files of org/model". */
  reason: string;
}

/** What the page can ask of the worker. One instance a tab; long calls report through callbacks. */
export interface StudioApi {
  device(): Promise<DeviceReport>;
  setBudget(bytes: number): Promise<void>;

  openModel(input: ModelInput, onProgress: (progress: Progress) => void): Promise<ModelSummary>;
  listModels(): Promise<ModelSummary[]>;
  deleteModel(id: string): Promise<void>;
  /** Files of a hub repository, so that a person can choose. */
  hubFiles(id: string, revision?: string): Promise<HubFile[]>;
  /** Stops the download or read that runs. What arrived is kept and continued from. */
  cancelOpen(): Promise<void>;

  openDataset(input: DatasetInput, modelId: string, options: DatasetOptions, onProgress: (progress: Progress) => void): Promise<DatasetSummary>;
  /** The same data set under other options (format, length, mask). */
  datasetSummary(id: string, modelId: string, options: DatasetOptions): Promise<DatasetSummary>;
  previewRow(id: string, modelId: string, row: number, options: DatasetOptions): Promise<RowPreview>;

  forecast(recipe: RecipeInput): Promise<Forecast>;
  /** What `quantize_base` costs on the recipe's own rows, measured one layer at a time. Throws a RecipeError where nothing is quantised. */
  measureDrift(recipe: RecipeInput, onProgress: (progress: Progress) => void): Promise<Drift>;
  /** Ends a measurement before its next layer; it rejects with a StoppedError. */
  stopMeasuring(): Promise<void>;
  /** Starts a run and returns its id once training has begun; events follow until it ends. */
  startRun(recipe: RecipeInput, name: string, onEvent: (event: RunEvent) => void): Promise<string>;
  resumeRun(id: string, onEvent: (event: RunEvent) => void): Promise<void>;
  pauseRun(): Promise<void>;
  /** `keep`: checkpoint where it stands; `discard`: go back to the last checkpoint. */
  stopRun(how: 'keep' | 'discard'): Promise<void>;
  listRuns(): Promise<RunSummary[]>;
  runHistory(id: string): Promise<RunHistory>;
  renameRun(id: string, name: string): Promise<void>;
  deleteRun(id: string): Promise<void>;

  /** Runs' adapters and kept ones, newest first. */
  listAdapters(): Promise<AdapterSummary[]>;
  /** Keeps an adapter (PEFT's two files, or a GGUF) once it fits the model. Throws a ModelError that names the first tensor that does not. */
  importAdapter(files: File[], modelId: string, name?: string): Promise<AdapterSummary>;
  /** Keeps Σ weight · adapter as a new one. Throws an ExportError for DoRA and for adapters of different models. */
  mergeAdapters(parts: { id: string; weight: number }[], name: string): Promise<AdapterSummary>;
  renameAdapter(id: string, name: string): Promise<void>;
  deleteAdapter(id: string): Promise<void>;

  /** `onProgress` hears of weights that are read onto the GPU; nothing is read where they lie there already. */
  generate(request: GenerateRequest, onText: (piece: string) => void, onProgress?: (progress: Progress) => void): Promise<GenerateResult>;
  stopGenerating(): Promise<void>;

  planExport(request: ExportRequest): Promise<ExportPlan>;
  /** Writes to `destination` where given (File System Access), else returns a Blob; in both cases only what is certified. Rejects with an ExportError where the file is not what was trained. */
  runExport(request: ExportRequest, destination: WritableStream<Uint8Array> | null, onProgress: (progress: Progress) => void): Promise<ExportResult>;
  /** Of every export that was made here and whose run or adapter is still kept, newest first. */
  listCertificates(): Promise<KeptCertificate[]>;

  storage(): Promise<StorageReport>;
  /** Every request that the worker made, oldest first. */
  requests(): Promise<RequestRecord[]>;
  deleteEverything(): Promise<void>;
}

export type { LoraConfig };
