import { TokenizerError } from '../../core/errors';

/** How a byte-level BPE cuts text into words before it merges, by `tokenizer.ggml.pre`. */
export interface PreTokenizer {
  /** Regular expressions applied in turn to every piece that the one before left. */
  patterns: readonly string[];
  /** Words that are in the vocabulary as a whole are not merged up from bytes. */
  ignoreMerges?: boolean;
  /** Whether a BOS is put in front where the file does not say. */
  addBos?: boolean;
}

/** GPT-2's expression, which byte-level tokenizers without one of their own use. */
export const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";
const CONTRACTION = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
/** The shape of Llama 3's, Qwen's and others' expression; they differ in how many digits stay together. */
const llama3 = (digits: string): string =>
  `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const TEKKEN =
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+' +
  '|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*' +
  '|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

const LLAMA_BPE: PreTokenizer = { patterns: [llama3('\\p{N}{1,3}')], ignoreMerges: true, addBos: true };
const DIGITS_APART: PreTokenizer = { patterns: ['\\p{N}', GPT2] };
const PLAIN: PreTokenizer = { patterns: [GPT2] };
const QWEN: PreTokenizer = { patterns: [llama3('\\p{N}')] };

/** llama.cpp's names and rules (src/llama-vocab.cpp). */
export const PRE_TOKENIZERS: Readonly<Record<string, PreTokenizer>> = {
  default: { patterns: ['[\\p{P}\\$\\+<=>\\^~\\|]+', GPT2, '\\p{N}+', '[0-9][0-9][0-9]'] },
  'gpt-2': PLAIN,
  olmo: PLAIN,
  mpt: PLAIN,
  smollm: DIGITS_APART,
  starcoder: DIGITS_APART,
  refact: DIGITS_APART,
  'command-r': DIGITS_APART,
  'llama-bpe': LLAMA_BPE,
  'llama-v3': LLAMA_BPE,
  llama3: LLAMA_BPE,
  falcon3: LLAMA_BPE,
  'smaug-bpe': { patterns: [llama3('\\p{N}{1,3}')] },
  dbrx: { patterns: [llama3('\\p{N}{1,3}')] },
  qwen2: QWEN,
  'deepseek-r1-qwen': QWEN,
  stablelm2: QWEN,
  tekken: { patterns: [TEKKEN], ignoreMerges: true, addBos: true },
};

/** The rule named by `tokenizer.ggml.pre`; a file that names none gets `default`. Unknown names are refused: a wrong rule trains on wrong ids. */
export function preTokenizer(name: string | null): PreTokenizer {
  const found = Object.hasOwn(PRE_TOKENIZERS, name ?? 'default') ? PRE_TOKENIZERS[name ?? 'default'] : undefined;
  if (found) return found;
  throw new TokenizerError(
    `The GGUF file's tokenizer.ggml.pre is "${name}"; Hone knows ${Object.keys(PRE_TOKENIZERS).join(', ')}. Open the model from its safetensors folder, which has a tokenizer.json.`,
  );
}
