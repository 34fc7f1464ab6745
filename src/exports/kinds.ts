import type { Adapter } from '../core/adapter';
import type { ByteSource } from '../core/bytes';
import { ExportError } from '../core/errors';
import { FILE_TYPES, type FileType, type ModelConfig, type ModelSource, type WeightType } from '../core/model';
import { readAdapter } from '../formats/adapter';
import { readMlxAdapter } from '../formats/mlx-adapter';
import { openModel } from '../formats/open-model';
import { trainedBase, type BaseQuantization } from '../formats/quantized';
import type { TrainedModel } from './certify';
import { expectedTensors } from '../core/layout';
import { TORCH_TYPES, type FloatType } from './config-json';
import { textFile, type ExportFile } from './files';
import { ggufAdapterFile } from './gguf-adapter';
import { ggufModelFile, mergedLayout, type MergedModel } from './gguf-model';
import { mergedModel, type Change } from './merged';
import { mlxFiles } from './mlx';
import type { CardFacts } from './model-card';
import { modelfile, type TokenizerFacts } from './modelfile';
import { baseFileName } from './names';
import { peftFiles } from './peft';
import { folderFiles, ownFloatType } from './safetensors-model';

/** What a person can take away. */
export const EXPORT_KINDS = ['gguf', 'gguf-adapter', 'peft', 'safetensors', 'mlx', 'modelfile', 'lmstudio'] as const;
export type ExportKind = (typeof EXPORT_KINDS)[number];

/** An adapter, or every weight of the model. */
export type Learned = { kind: 'adapter'; adapter: Adapter } | { kind: 'weights'; weights: ReadonlyMap<string, { data: Float32Array }> };

/** A model's words, as far as exports need them. */
interface Words {
  tokenizer: {
    bosToken: string;
    eosToken: string;
    addsBos: boolean;
    token: (id: number) => string;
    encode: (text: string, options: { parseSpecial: boolean }) => number[];
  } | null;
  template: { template: string };
  stopIds: ReadonlySet<number>;
}

/** A base and what was learned over it, with its words. */
export interface Subject {
  /** The original base, whatever training rounded it to. */
  model: ModelSource;
  learned: Learned;
  card: CardFacts;
  /** The template that training used. */
  chatTemplate: string | null;
  /** The tokens that begin and end a text or an answer. */
  marks: TokenizerFacts;
  /** Text to ids with nothing added; null where there is no tokenizer. */
  encode: ((text: string) => number[]) | null;
  /** Makes the tokenizer's files as a Hugging Face folder has them, where the base has none: large, and only some kinds need them. */
  tokenizerFiles: () => { json: object; config: object } | null;
}

/** A subject under the words that training used. */
export function subjectOf(model: ModelSource, { tokenizer, template, stopIds }: Words, learned: Learned, card: CardFacts, tokenizerFiles: Subject['tokenizerFiles']): Subject {
  const shared = { model, learned, card, tokenizerFiles };
  if (!tokenizer) return { ...shared, chatTemplate: null, marks: { bosToken: '', eosToken: '', addsBos: false, stops: [] }, encode: null };
  const { bosToken, eosToken, addsBos } = tokenizer;
  const stops = [...stopIds].map((id) => tokenizer.token(id));
  return { ...shared, chatTemplate: template.template, marks: { bosToken, eosToken, addsBos, stops }, encode: (text) => tokenizer.encode(text, { parseSpecial: false }) };
}

/** The model as it was trained: over its base as the recipe rounded that, or by itself where every weight was trained. */
export function trainedModel(subject: Subject, quantization: BaseQuantization | 'none'): TrainedModel {
  const { model, learned } = subject;
  if (learned.kind === 'weights') return { source: mergedModel(model, changeOf(subject)), adapter: null, roundedTo: null };
  return { source: trainedBase(model, quantization), adapter: learned.adapter, roundedTo: quantization === 'none' ? null : quantization };
}

export interface Choice {
  kind: ExportKind;
  /** Of a model's weights, by name; left out: what suits the kind. */
  type?: string | undefined;
  /** File names begin with it. */
  stem: string;
  /** The name of the file, where the export is one. */
  fileName?: string | undefined;
}

/** An export ready to be written, and how it is read again. */
export interface Prepared {
  kind: ExportKind;
  /** Of the weights, null for adapters. */
  type: string | null;
  files: ExportFile[];
  /** Opens what was written. Throws a HoneError where a file is not what it should be. */
  read: (sources: readonly ByteSource[]) => Promise<Reopened>;
}

/** What was written, read again, beside what it should be. */
export type Reopened =
  | { kind: 'model'; source: ModelSource; merged: ModelSource; types: ReadonlyMap<string, WeightType> }
  | { kind: 'adapter'; adapter: Adapter; trained: Adapter };

/** What an export will write. Throws an ExportError where the kind cannot hold what was learned, or the type is not one of its. */
export async function prepareExport(subject: Subject, choice: Choice): Promise<Prepared> {
  const { kind, stem, fileName } = choice;
  switch (kind) {
    case 'gguf':
      return ggufModel(subject, choice, fileName ?? `${stem}-${ggufType(choice.type)}.gguf`);
    case 'lmstudio':
      return ggufModel(subject, choice, `hone/${stem}/${stem}-${ggufType(choice.type)}.gguf`);
    case 'modelfile':
      return withModelfile(subject, choice);
    case 'gguf-adapter':
      return ggufAdapter(subject, fileName ?? `${stem}-lora.gguf`);
    case 'peft':
      return adapterExport(kind, subject, peftFiles({ adapter: adapterOf(subject), card: subject.card, textPath: subject.model.textPath }), readAdapter);
    case 'mlx':
      return adapterExport(kind, subject, mlxFiles(adapterOf(subject), subject.model.config), readMlxAdapter);
    case 'safetensors':
      return safetensorsModel(subject, choice);
  }
}

/** The adapter of a subject. Throws an ExportError where every weight was trained. */
export function adapterOf({ learned }: Subject): Adapter {
  if (learned.kind === 'adapter') return learned.adapter;
  throw new ExportError('this run trained every weight, so it has no adapter; export the merged model (gguf or safetensors).');
}

/** A choice as a GGUF file's type; F16 where nothing was chosen. */
export function ggufType(type: string | undefined): FileType {
  return typeAmong(type ?? 'F16', FILE_TYPES, 'GGUF');
}

function typeAmong<T extends string>(type: string, known: readonly T[], what: string): T {
  const found = known.find((one) => one.toLowerCase() === type.toLowerCase());
  if (found === undefined) throw new ExportError(`there is no ${what} export of type ${type}; choose one of ${known.join(', ')}.`);
  return found;
}

function changeOf({ learned }: Subject): Change {
  if (learned.kind === 'adapter') return { adapter: learned.adapter };
  return { weights: new Map([...learned.weights].map(([name, { data }]) => [name, data])) };
}

/** The request of a GGUF file with the merged model. */
function mergedRequest(subject: Subject, type: FileType): MergedModel {
  const { model, card, chatTemplate, encode } = subject;
  return { model, name: card.name, type, ...changeOf(subject), chatTemplate, encode };
}

/** Texts for people and for Ollama say nothing about the weights. */
function isData(source: ByteSource): boolean {
  return !/(^|[\\/])(Modelfile|README\.md)$/.test(source.name);
}

/** Families whose architecture in llama.cpp takes for granted that all heads together are as wide as hidden_size. */
const FULL_HEADS: ReadonlySet<string> = new Set(['qwen2', 'phi3']);

function refuseUnloadable({ model_type, num_attention_heads, head_dim, hidden_size }: ModelConfig): void {
  const width = num_attention_heads * head_dim;
  if (!FULL_HEADS.has(model_type) || width === hidden_size) return;
  throw new ExportError(
    `llama.cpp cannot load a ${model_type} model whose heads have ${width} values in all and whose hidden_size is ${hidden_size}; export as PEFT or safetensors.`,
  );
}

function ggufModel(subject: Subject, { kind, type }: Choice, name: string): Prepared {
  refuseUnloadable(subject.model.config);
  const fileType = ggufType(type);
  const request = mergedRequest(subject, fileType);
  const types = new Map<string, WeightType>();
  for (const plan of mergedLayout(request).tensors) if (!plan.values) types.set(plan.source, plan.type);
  const read = async (sources: readonly ByteSource[]): Promise<Reopened> => ({
    kind: 'model',
    source: await openModel(sources.filter(isData)),
    merged: mergedModel(subject.model, request),
    types,
  });
  return { kind, type: fileType, files: [ggufModelFile(request, name)], read };
}

function ggufAdapter(subject: Subject, name: string): Prepared {
  const { model, card } = subject;
  return adapterExport('gguf-adapter', subject, [ggufAdapterFile({ adapter: adapterOf(subject), config: model.config, name: card.name }, name)], readAdapter);
}

/** Ollama's folder: the merged model where a type is chosen, else the adapter over the base that the person has. */
function withModelfile(subject: Subject, choice: Choice): Prepared {
  const { chatTemplate, marks, model } = subject;
  const merged = choice.type !== undefined || subject.learned.kind === 'weights';
  const name = merged ? `${choice.stem}-${ggufType(choice.type)}.gguf` : `${choice.stem}-lora.gguf`;
  const prepared = merged ? ggufModel(subject, choice, name) : ggufAdapter(subject, name);
  const from = merged ? { from: `./${name}` } : { from: `./${baseFileName(model)}`, adapter: `./${name}` };
  return { ...prepared, kind: 'modelfile', files: [...prepared.files, textFile('Modelfile', modelfile({ ...from, chatTemplate, tokenizer: marks }))] };
}

function adapterExport(
  kind: ExportKind,
  subject: Subject,
  files: ExportFile[],
  reader: (sources: readonly ByteSource[], config: ModelSource['config']) => Promise<Adapter>,
): Prepared {
  const trained = adapterOf(subject);
  const read = async (sources: readonly ByteSource[]): Promise<Reopened> => {
    return { kind: 'adapter', adapter: await reader(sources.filter(isData), subject.model.config), trained };
  };
  return { kind, type: null, files, read };
}

async function safetensorsModel(subject: Subject, { type }: Choice): Promise<Prepared> {
  const { model, chatTemplate, tokenizerFiles } = subject;
  const floats = Object.keys(TORCH_TYPES) as FloatType[];
  const floatType = type === undefined ? ownFloatType(model) : typeAmong(type, floats, 'safetensors');
  const change = changeOf(subject);
  const files = await folderFiles({ model, type: floatType, chatTemplate, tokenizer: tokenizerFiles(), ...change });
  const types = new Map<string, WeightType>([...expectedTensors(model.config).keys()].map((name) => [name, floatType]));
  const read = async (sources: readonly ByteSource[]): Promise<Reopened> => ({ kind: 'model', source: await openModel(sources), merged: mergedModel(model, change), types });
  return { kind: 'safetensors', type: floatType, files, read };
}
