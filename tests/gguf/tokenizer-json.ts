import type { GgufTokenizerKeys } from '../../src/core/model';

const GPT2 = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
const split = (digits: string): object => splitBy(
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
);
const splitBy = (Regex: string): object => ({
  type: 'Sequence',
  pretokenizers: [
    {
      type: 'Split',
      pattern: { Regex },
      behavior: 'Isolated',
      invert: false,
    },
    { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
  ],
});

/** The pre_tokenizer that models with a `tokenizer.ggml.pre` have in their tokenizer.json. */
export const PRE_TOKENIZERS: Record<string, object> = {
  'gpt-2': GPT2,
  smollm: { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, GPT2] },
  'llama-bpe': split('\\p{N}{1,3}'),
  qwen2: split('\\p{N}'),
  tekken: splitBy(
    '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|' +
      '\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
  ),
};

/** A byte-level tokenizer.json as models publish it, made from a GGUF file's keys. */
export function byteLevelJson(keys: GgufTokenizerKeys): object {
  const added = keys.tokens.flatMap((content, id) => {
    const type = keys.token_type?.[id] ?? 1;
    return type === 3 || type === 4 ? [{ id, content, special: type === 3, normalized: false }] : [];
  });
  const addedIds = new Set(added.map(({ id }) => id));
  return {
    pre_tokenizer: PRE_TOKENIZERS[keys.pre ?? ''],
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(keys.tokens.flatMap((token, id) => (addedIds.has(id) || keys.token_type?.[id] === 5 ? [] : [[token, id]]))),
      merges: keys.merges!.map((merge) => merge.split(' ')),
    },
    added_tokens: added,
  };
}

/**
 * A tokenizer.json of Llama 2's kind from a SentencePiece vocabulary: its merges are all ways to split each token into
 * two tokens, best score first, as transformers' converter lists them.
 */
export function sentencePieceJson(keys: GgufTokenizerKeys): object {
  const ids = new Map(keys.tokens.map((token, id) => [token, id]));
  const order = keys.tokens.map((token, id) => ({ token, score: keys.scores![id]!, id })).filter(({ id }) => keys.token_type![id] === 1);
  order.sort((a, b) => b.score - a.score || a.id - b.id);
  const merges = order.flatMap(({ token }) => {
    const characters = [...token];
    const splits = characters.slice(1).map((_, i) => [characters.slice(0, i + 1).join(''), characters.slice(i + 1).join('')] as const);
    return splits.filter(([left, right]) => ids.has(left) && ids.has(right)).sort((a, b) => ids.get(a[0])! - ids.get(b[0])! || ids.get(a[1])! - ids.get(b[1])!);
  });
  return {
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, { type: 'Replace', pattern: { String: ' ' }, content: '▁' }] },
    pre_tokenizer: null,
    model: { type: 'BPE', vocab: Object.fromEntries(ids), merges, byte_fallback: true, unk_token: '<unk>' },
    post_processor: { type: 'TemplateProcessing', single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }] },
    added_tokens: keys.tokens.flatMap((content, id) => (keys.token_type![id] === 3 || keys.token_type![id] === 2 ? [{ id, content, special: true }] : [])),
  };
}
