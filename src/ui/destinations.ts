import type { ExportKind, ExportPlan, MergedType } from '../workers/api';

/** Where a trained model is taken to, what is written for it, and what it is called in a plan's commands. */
export interface Destination {
  id: 'ollama' | 'llama.cpp' | 'lmstudio' | 'python';
  name: string;
  promise: string;
  /** The first is preselected. */
  kinds: ExportKind[];
  /** How the commands meant for it name it. */
  runs: RegExp;
}

export const DESTINATIONS: Destination[] = [
  { id: 'ollama', name: 'Ollama', promise: 'An adapter and a Modelfile.', kinds: ['gguf-adapter', 'gguf'], runs: /ollama/i },
  { id: 'llama.cpp', name: 'llama.cpp', promise: 'An adapter beside its base.', kinds: ['gguf-adapter', 'gguf'], runs: /llama\.?cpp|llama-/i },
  { id: 'lmstudio', name: 'LM Studio', promise: 'One merged file.', kinds: ['gguf'], runs: /lm ?studio|lms/i },
  { id: 'python', name: 'Python', promise: 'PEFT, for transformers.', kinds: ['peft'], runs: /python|peft|transformers/i },
];

export const KIND_NAMES: Record<ExportKind, string> = {
  'gguf-adapter': 'Adapter, small',
  gguf: 'Whole model, merged',
  peft: 'PEFT adapter',
};

export const MERGED_TYPES: { type: MergedType; note: string }[] = [
  { type: 'Q8_0', note: 'Q8_0: small, nearly exact' },
  { type: 'Q4_0', note: 'Q4_0: smallest, answers drift a little' },
  { type: 'F16', note: 'F16: half precision' },
  { type: 'BF16', note: 'BF16: half precision, wide range' },
  { type: 'F32', note: 'F32: exact, largest' },
];

/** A plan's commands, those for this destination first. */
export function commandsFor(plan: ExportPlan, destination: Destination): ExportPlan['commands'] {
  const mine = plan.commands.filter((command) => destination.runs.test(command.runs));
  return [...mine, ...plan.commands.filter((command) => !mine.includes(command))];
}
