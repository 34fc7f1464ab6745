import type { Adapter } from '../core/adapter';
import type { ModelSource } from '../core/model';
import { adapterLayout } from './gguf-adapter';
import { mergedLayout, type MergedModel } from './gguf-model';
import type { CardFacts } from './model-card';
import { modelfile } from './modelfile';
import { peftFiles, peftZipSize } from './peft';

/** What an export will give: file, exact size, text files beside it, and commands to run next. */
export interface Plan {
  fileName: string;
  bytes: number;
  companions: { fileName: string; text: string }[];
  commands: { runs: string; command: string }[];
}

/** What all plans need to know. */
export interface PlanFacts {
  /** File name without its ending, as a person typed it. */
  name: string;
  model: ModelSource;
  chatTemplate: string | null;
  /** Text of the tokenizer's end token. */
  eosToken: string;
}

/** A person's words as a file name that every system and shell takes: letters, digits, dots, dashes, underscores. */
export function fileStem(name: string): string {
  const stem = name
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .replaceAll(/[^\w.-]+/g, '-')
    .replaceAll(/^[-.]+|[-.]+$/g, '');
  return stem === '' ? 'hone' : stem.slice(0, 100);
}

/** Ollama's model names are lower case. */
const ollamaName = (stem: string): string => stem.toLowerCase();

export function planPeft(facts: PlanFacts, adapter: Adapter, card: CardFacts): Plan {
  const stem = fileStem(facts.name);
  const fileName = `${stem}-peft.zip`;
  return {
    fileName,
    bytes: peftZipSize(peftFiles({ adapter, card })),
    companions: [],
    commands: [
      { runs: 'Unpack', command: `unzip ${fileName} -d ${stem}` },
      {
        runs: 'Python (PEFT)',
        command:
          'from peft import PeftModel; from transformers import AutoModelForCausalLM; ' +
          `model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(${JSON.stringify(card.baseModel)}), ${JSON.stringify(stem)})`,
      },
    ],
  };
}

export function planGgufAdapter(facts: PlanFacts, adapter: Adapter): Plan {
  const stem = fileStem(facts.name);
  const fileName = `${stem}-lora.gguf`;
  const base = baseFile(facts.model);
  const modelfileName = `${stem}.Modelfile`;
  return {
    fileName,
    bytes: adapterLayout({ adapter, config: facts.model.config, name: facts.name }).bytes,
    companions: [{ fileName: modelfileName, text: modelfile({ ...facts, from: `./${base}`, adapter: `./${fileName}` }) }],
    commands: [
      { runs: 'llama.cpp', command: `llama-cli -m ${base} --lora ${fileName} -cnv` },
      { runs: 'llama.cpp server', command: `llama-server -m ${base} --lora ${fileName}` },
      ...ollamaCommands(stem, modelfileName),
    ],
  };
}

export function planMerged(facts: PlanFacts, request: MergedModel): Plan {
  const stem = fileStem(facts.name);
  const fileName = `${stem}-${request.type.toLowerCase()}.gguf`;
  const modelfileName = `${stem}.Modelfile`;
  return {
    fileName,
    bytes: mergedLayout(request).bytes,
    companions: [{ fileName: modelfileName, text: modelfile({ ...facts, from: `./${fileName}` }) }],
    commands: [
      { runs: 'llama.cpp', command: `llama-cli -m ${fileName} -cnv` },
      ...ollamaCommands(stem, modelfileName),
      { runs: 'LM Studio', command: `lms import ${fileName}` },
    ],
  };
}

/** The base as a GGUF file beside the adapter: the one that was opened, or the one that the person has to convert. */
function baseFile(model: ModelSource): string {
  const file = model.format === 'gguf' ? model.files[0]?.name.split(/[\\/]/).at(-1) : undefined;
  return file ?? `${fileStem(model.name)}.gguf`;
}

function ollamaCommands(stem: string, modelfileName: string): Plan['commands'] {
  return [
    { runs: 'Ollama: add', command: `ollama create ${ollamaName(stem)} -f ${modelfileName}` },
    { runs: 'Ollama: chat', command: `ollama run ${ollamaName(stem)}` },
  ];
}
