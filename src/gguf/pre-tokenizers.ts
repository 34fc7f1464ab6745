import { sha256 } from '../core/sha256';

/**
 * The text whose token ids tell byte-level tokenizers apart: llama.cpp's converter (convert_hf_to_gguf.py, `chktxt`)
 * names the pre-tokenizer by a hash of them.
 */
export const CHECK_TEXT =
  '\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶\u200d🌫️ (multiple emojis concatenated) ✅ 🦙🦙 ' +
  '3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 កាន់តែពិសេសអាច😁 ?我想在apple工作1314151天～ ------======= ' +
  "нещо на Български ''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, " +
  "'D you like some tea? We'Ve a'lL";

/** SHA-256 of Python's `str(ids)`. */
const KNOWN_HASHES: Readonly<Record<string, string>> = {
  '0ef9807a4087ebef797fc749390439009c3b9eda9ad1a097abbe738f486c01e5': 'llama-bpe',
  c136ed14d01c2745d4f60a9596ae66800e2b61fa45643e72436041855ad4089d: 'llama-bpe',
  '855059429035d75a914d1eda9f10a876752e281a054a7a3d421ef0533e5b6249': 'smollm',
  e636dc30a262dcc0d8c323492e32ae2b70728f4df7dfe9737d9f920a282b8aea: 'qwen2',
  b3f499bb4255f8ca19fccd664443283318f2fd2414d5e0b040fbdd0cc195d6c5: 'deepseek-r1-qwen',
  '3ce83efda5659b07b1ad37ca97ca5797ea4285d9b9ab0dc679e4a720c9da7454': 'gpt-2',
  '63b97e4253352e6f357cc59ea5b583e3a680eaeaf2632188c2b952de2588485e': 'tekken',
};

/** The hash of token ids as the converter computes it. */
export function idsHash(ids: readonly number[]): string {
  return sha256(new TextEncoder().encode(`[${ids.join(', ')}]`));
}

const LLAMA3 = (digits: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** Mistral-Nemo's: words by their capitals. */
const [UPPER, LOWER] = ['[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]', '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'];
const TEKKEN =
  `[^\\r\\n\\p{L}\\p{N}]?${UPPER}*${LOWER}+|[^\\r\\n\\p{L}\\p{N}]?${UPPER}+${LOWER}*` +
  '|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

/** The splitting expression of a tokenizer.json's pre_tokenizer → llama.cpp's name for it. */
const KNOWN_PATTERNS: Readonly<Record<string, string>> = {
  [LLAMA3('\\p{N}{1,3}')]: 'llama-bpe',
  [LLAMA3('\\p{N}')]: 'qwen2',
  [TEKKEN]: 'tekken',
};

interface PreTokenizerJson {
  type?: unknown;
  pretokenizers?: unknown;
  pattern?: { Regex?: unknown; String?: unknown };
  individual_digits?: unknown;
  use_regex?: unknown;
}

/**
 * llama.cpp's name (`tokenizer.ggml.pre`) for the way a tokenizer.json cuts text before merging, or null where it is unknown.
 * By the converter's hash where `encode` (text to ids, nothing added) gives a known one, as all published models of the
 * supported families do; else, for a vocabulary of one's own, by its splitting expression.
 */
export function preTokenizerName(tokenizerJson: object, encode: ((text: string) => number[]) | null): string | null {
  const known = encode ? KNOWN_HASHES[idsHash(encode(CHECK_TEXT))] : undefined;
  return known ?? preTokenizerByPattern((tokenizerJson as { pre_tokenizer?: PreTokenizerJson | null }).pre_tokenizer ?? null);
}

function preTokenizerByPattern(json: PreTokenizerJson | null): string | null {
  if (!json) return null;
  const steps = (Array.isArray(json.pretokenizers) ? json.pretokenizers : [json]) as PreTokenizerJson[];
  const last = steps.at(-1);
  if (last?.type !== 'ByteLevel') return null;
  const before = steps.slice(0, -1);
  if (last.use_regex !== false) {
    if (before.length === 0) return 'gpt-2';
    const digits = before.length === 1 && before[0]!.type === 'Digits' && before[0]!.individual_digits === true;
    return digits ? 'smollm' : null;
  }
  const pattern = before.length === 1 && before[0]!.type === 'Split' ? before[0]!.pattern?.Regex : undefined;
  return typeof pattern === 'string' ? (KNOWN_PATTERNS[pattern] ?? null) : null;
}
