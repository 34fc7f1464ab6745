import type { ExportKind, ExportPlan, MergedType, Recipe } from '../workers/api';

/** One way to take a trained model to a destination. */
export interface ExportForm {
  kind: ExportKind;
  name: string;
  promise: string;
  /** An adapter is small and needs its base; a model stands by itself. */
  holds: 'adapter' | 'model';
  /** File types to choose from; the first is preselected. */
  types: readonly ModelType[];
}

/** Where a trained model is taken to, what can be written for it, and what it is called in a plan's commands. */
export interface Destination {
  id: 'ollama' | 'llama.cpp' | 'lmstudio' | 'python' | 'mlx' | 'transformers';
  name: string;
  promise: string;
  /** The first that the run allows is preselected. */
  forms: readonly ExportForm[];
  runs: RegExp;
}

/** A type of weights; null: as the base has them. */
export interface ModelType {
  type: MergedType | null;
  note: string;
  /** Offered first. */
  usual?: boolean;
}

/** Types of GGUF files, those that most people want first. */
export const GGUF_TYPES: readonly ModelType[] = [
  { type: 'Q8_0', note: 'near exact', usual: true },
  { type: 'Q4_K_M', note: 'small, good', usual: true },
  { type: 'F16', note: 'half precision, for converting further', usual: true },
  { type: 'Q6_K', note: 'very close' },
  { type: 'Q5_K_M', note: 'between Q6_K and Q4_K_M' },
  { type: 'Q5_K_S', note: 'a little smaller than Q5_K_M' },
  { type: 'Q4_K_S', note: 'a little smaller than Q4_K_M' },
  { type: 'Q5_1', note: 'older 5-bit form' },
  { type: 'Q5_0', note: 'older 5-bit form, smaller' },
  { type: 'Q4_1', note: 'older 4-bit form' },
  { type: 'Q4_0', note: 'smallest, strays most' },
  { type: 'BF16', note: 'half precision, wide range' },
  { type: 'F32', note: 'exact, largest' },
];

/** Types of safetensors. */
export const FOLDER_TYPES: readonly ModelType[] = [
  { type: null, note: 'As the base has it' },
  { type: 'F16', note: 'half precision' },
  { type: 'BF16', note: 'half precision, wide range' },
  { type: 'F32', note: 'exact, largest' },
];

const ADAPTER = { holds: 'adapter', types: [] } as const;
const GGUF = { kind: 'gguf', holds: 'model', types: GGUF_TYPES } as const;
const FOLDER = { kind: 'safetensors', holds: 'model', types: FOLDER_TYPES } as const;

export const DESTINATIONS: readonly Destination[] = [
  {
    id: 'ollama',
    name: 'Ollama',
    promise: 'A folder with its Modelfile.',
    forms: [
      { ...ADAPTER, kind: 'modelfile', name: 'Adapter and Modelfile', promise: 'Small; the base goes beside it.' },
      { ...GGUF, kind: 'modelfile', name: 'Whole model and Modelfile', promise: 'Needs nothing else.' },
    ],
    runs: /ollama/i,
  },
  {
    id: 'llama.cpp',
    name: 'llama.cpp',
    promise: 'An adapter beside its base, or one file.',
    forms: [
      { ...ADAPTER, kind: 'gguf-adapter', name: 'Adapter', promise: 'Small; the base goes beside it.' },
      { ...GGUF, name: 'Whole model', promise: 'One file that needs nothing else.' },
    ],
    runs: /llama\.?cpp|llama-/i,
  },
  {
    id: 'lmstudio',
    name: 'LM Studio',
    promise: 'One file, imported with a command.',
    forms: [
      { ...GGUF, name: 'Whole model', promise: 'One file that needs nothing else.' },
      { ...GGUF, kind: 'lmstudio', name: 'Folder for LM Studio', promise: 'Laid out as in its models folder.' },
    ],
    runs: /lm ?studio|lms/i,
  },
  {
    id: 'python',
    name: 'Python',
    promise: 'A PEFT adapter.',
    forms: [{ ...ADAPTER, kind: 'peft', name: 'PEFT adapter', promise: 'Loads over its base.' }],
    runs: /python|peft/i,
  },
  {
    id: 'mlx',
    name: 'Apple MLX',
    promise: 'For Macs, with mlx-lm.',
    forms: [
      { ...ADAPTER, kind: 'mlx', name: 'MLX adapter', promise: 'Small; loads over its base.' },
      { ...FOLDER, name: 'Whole model', promise: 'A folder that mlx-lm opens as it is.' },
    ],
    runs: /mlx/i,
  },
  {
    id: 'transformers',
    name: 'transformers',
    promise: 'A whole model, 16 bits.',
    forms: [{ ...FOLDER, name: 'Whole model', promise: 'A folder with config and tokenizer.' }],
    runs: /python|transformers/i,
  },
];

/** Why a run cannot be taken away in this form, in a sentence; null where it can. */
export function refusal({ kind, holds }: ExportForm, { lora }: Pick<Recipe, 'lora'>): string | null {
  if (holds === 'model') return null;
  if (lora === null) return 'This run trained every weight of the model, so there is no adapter: take the whole model.';
  if (lora.use_dora && (kind === 'gguf-adapter' || kind === 'modelfile')) {
    return 'This adapter is a DoRA, and adapter files for Ollama and llama.cpp have no place for its row lengths: take the whole model.';
  }
  return null;
}

/** A plan's commands, those for this destination first. */
export function commandsFor(plan: ExportPlan, destination: Destination): ExportPlan['commands'] {
  const mine = plan.commands.filter(({ runs }) => runs === 'Unpack' || destination.runs.test(runs));
  return [...mine, ...plan.commands.filter((command) => !mine.includes(command))];
}
