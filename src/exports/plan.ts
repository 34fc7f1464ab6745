import type { Choice, ExportKind, Prepared, Subject } from './kinds';
import { baseFileName } from './names';
import { modelfile, type ModelfileFacts } from './modelfile';
import { zipSize } from './zip';

/** What an export will give: file, exact size, text files beside it, and commands to run next. */
export interface Plan {
  /** The file, or the zip of several. */
  fileName: string;
  bytes: number;
  /** What an adapter works over; null for whole models. */
  base: AdapterBase | null;
  companions: { fileName: string; text: string }[];
  commands: { runs: string; command: string }[];
}

export interface AdapterBase {
  name: string;
  /** The file that commands and Modelfile name; null where it is a folder or a hub id. */
  file: string | null;
  /** How to come by it in this form, where it is not the file that was opened. */
  note: string | null;
}

/** Whether an export is one file; others are a folder, or a zip of it. */
export function isOneFile({ kind }: { kind: ExportKind }): boolean {
  return kind === 'gguf' || kind === 'gguf-adapter';
}

/** A prepared export's name, size from tensor shapes, companions, and what to run next. */
export function planExport(subject: Subject, { stem }: Choice, prepared: Prepared): Plan {
  const fileName = isOneFile(prepared) ? prepared.files[0]!.name : `${stem}-${prepared.kind === 'modelfile' ? 'ollama' : prepared.kind}.zip`;
  const bytes = isOneFile(prepared) ? prepared.files[0]!.bytes : zipSize(prepared.files);
  return { fileName, bytes, base: adapterBase(subject, prepared), ...FOLLOWING[prepared.kind]({ subject, stem, fileName, prepared }) };
}

function adapterBase({ model, card }: Subject, { kind, type }: Prepared): AdapterBase | null {
  if (type !== null) return null;
  const name = card.baseModel;
  if (kind === 'gguf-adapter' || kind === 'modelfile') {
    const file = baseFileName(model);
    const convert = `It was opened as safetensors; llama.cpp makes this file of its folder: python convert_hf_to_gguf.py FOLDER --outfile ${file}`;
    return { name, file, note: model.format === 'gguf' ? null : convert };
  }
  const original = 'It was opened as GGUF; give the id or the folder of the same model in safetensors in its place below.';
  return { name, file: null, note: model.format === 'gguf' ? original : null };
}

interface Situation {
  subject: Subject;
  stem: string;
  fileName: string;
  prepared: Prepared;
}
type Following = Pick<Plan, 'companions' | 'commands'>;

const FOLLOWING: Record<ExportKind, (situation: Situation) => Following> = {
  gguf: ({ subject, stem, fileName }) => ({
    companions: [{ fileName: `${stem}.Modelfile`, text: modelfile({ from: `./${fileName}`, ...template(subject) }) }],
    commands: [
      { runs: 'llama.cpp', command: `llama-cli -m ${fileName} -cnv` },
      ...ollama(stem, `${stem}.Modelfile`),
      { runs: 'LM Studio', command: `lms import ${fileName}` },
    ],
  }),
  'gguf-adapter': ({ subject, stem, fileName }) => {
    const base = baseFileName(subject.model);
    return {
      companions: [{ fileName: `${stem}.Modelfile`, text: modelfile({ from: `./${base}`, adapter: `./${fileName}`, ...template(subject) }) }],
      commands: [
        { runs: 'llama.cpp', command: `llama-cli -m ${base} --lora ${fileName} -cnv` },
        { runs: 'llama.cpp server', command: `llama-server -m ${base} --lora ${fileName}` },
        ...ollama(stem, `${stem}.Modelfile`),
      ],
    };
  },
  modelfile: ({ stem, fileName }) => folder(stem, fileName, ollama(stem, `${stem}/Modelfile`)),
  lmstudio: ({ stem, fileName, prepared }) =>
    folder(stem, fileName, [{ runs: 'LM Studio: add', command: `lms import ${stem}/${prepared.files[0]!.name}` }]),
  peft: ({ subject, stem, fileName }) =>
    folder(stem, fileName, [
      {
        runs: 'Python (PEFT)',
        command:
          'from peft import PeftModel; from transformers import AutoModelForCausalLM; ' +
          `model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(${JSON.stringify(subject.card.baseModel)}), ${JSON.stringify(stem)})`,
      },
    ]),
  mlx: ({ subject, stem, fileName }) =>
    folder(stem, fileName, [
      { runs: 'MLX', command: `mlx_lm.chat --model ${subject.card.baseModel} --adapter-path ${stem}` },
      { runs: 'MLX: merge', command: `mlx_lm.fuse --model ${subject.card.baseModel} --adapter-path ${stem} --save-path ${stem}-fused` },
    ]),
  safetensors: ({ stem, fileName }) =>
    folder(stem, fileName, [
      {
        runs: 'Python (transformers)',
        command: `from transformers import AutoModelForCausalLM; model = AutoModelForCausalLM.from_pretrained(${JSON.stringify(stem)}, dtype="auto")`,
      },
    ]),
};

function template({ chatTemplate, marks }: Subject): Pick<ModelfileFacts, 'chatTemplate' | 'tokenizer'> {
  return { chatTemplate, tokenizer: marks };
}

function folder(stem: string, fileName: string, commands: Plan['commands']): Following {
  return { companions: [], commands: [{ runs: 'Unpack', command: `unzip ${fileName} -d ${stem}` }, ...commands] };
}

/** Ollama's model names are lower case. */
function ollama(stem: string, modelfileName: string): Plan['commands'] {
  const name = stem.toLowerCase();
  return [
    { runs: 'Ollama: add', command: `ollama create ${name} -f ${modelfileName}` },
    { runs: 'Ollama: chat', command: `ollama run ${name}` },
  ];
}
