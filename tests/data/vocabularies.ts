import { openGgufVocabulary } from '../../src/gguf/model';
import { FileSource } from '../../src/storage/node-file';
import { buildTokenizer, type Tokenizer } from '../../src/data/tokenizer/tokenizer';
import { gemma3 } from '../gemma';
import { shared } from '../shared';

/** Reference vocabularies by name: the GGUF file that carries each. */
export const VOCABULARIES = {
  'llama-bpe': 'tokenizers/llama-bpe.gguf',
  'llama-spm': 'tokenizers/llama-spm.gguf',
  qwen2: 'tokenizers/qwen2.gguf',
  smollm2: 'models/SmolLM2-135M-Instruct.Q4_1.gguf',
  stories: 'models/stories260K/stories260K-f32.gguf',
} as const;
export type VocabularyName = keyof typeof VOCABULARIES | 'gemma-3';

export const haveVocabularies = shared(VOCABULARIES.qwen2) !== null;

/** The GGUF file of a vocabulary, or null where it is not to be had. */
export function vocabularyPath(name: VocabularyName): string | null {
  return name === 'gemma-3' ? gemma3() : shared(VOCABULARIES[name]);
}

const built = new Map<string, Promise<{ tokenizer: Tokenizer; chatTemplate: string | null }>>();

/** The tokenizer and template of a reference file, built once a test file. */
export function vocabulary(name: VocabularyName): Promise<{ tokenizer: Tokenizer; chatTemplate: string | null }> {
  let found = built.get(name);
  if (!found) {
    found = open(vocabularyPath(name)!);
    built.set(name, found);
  }
  return found;
}

async function open(path: string): Promise<{ tokenizer: Tokenizer; chatTemplate: string | null }> {
  const source = await FileSource.open(path);
  const { tokenizer: keys, chatTemplate } = await openGgufVocabulary(source).finally(() => source.close());
  return { tokenizer: buildTokenizer({ kind: 'gguf', keys }), chatTemplate };
}
