import type { GgufTokenizerKeys, TokenizerSource } from '../../core/model';
import { addsBos, byteLevelJson } from './gguf-bpe';
import { literalTokens, tokenTypes } from './literals';

/** The two files that a Hugging Face folder has of a tokenizer. */
export interface TokenizerFiles {
  json: object;
  config: object;
}

/** The files of a tokenizer that came from a GGUF file; null for one that came as files, or whose kind has no such form. */
export function tokenizerFiles(source: TokenizerSource | null): TokenizerFiles | null {
  if (source?.kind !== 'gguf') return null;
  const { keys } = source;
  if (keys.model === 'gpt2') return { json: byteLevelFile(keys), config: configFile(keys, addsBos(keys)) };
  if (keys.model === 'llama' && keys.scores) return { json: sentencePieceFile(keys, keys.scores), config: configFile(keys, keys.add_bos_token ?? true) };
  return null;
}

/** What tokenizers (the Rust library) wants every BPE to say. */
const BPE = { dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false };
const ADDED = { single_word: false, lstrip: false, rstrip: false, normalized: false };

function byteLevelFile(keys: GgufTokenizerKeys): object {
  const { model, added_tokens, pre_tokenizer, normalizer } = byteLevelJson(keys);
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added_tokens.map((token) => ({ ...token, ...ADDED })).sort((a, b) => a.id - b.id),
    normalizer,
    pre_tokenizer,
    post_processor: addsBos(keys) ? bosFirst(keys) : { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { ...BPE, ...model },
  };
}

/** As transformers' converter writes Llama 2's: merges are all ways to cut a token in two tokens, best score first. */
function sentencePieceFile(keys: GgufTokenizerKeys, scores: readonly number[]): object {
  const spaced = keys.add_space_prefix ?? true;
  const { literal, special } = literalTokens(keys.tokens, tokenTypes(keys));
  const vocab: Record<string, number> = Object.create(null) as Record<string, number>;
  keys.tokens.forEach((token, id) => {
    if (token !== '') vocab[token] ??= id;
  });
  const unknown = keys.tokens[keys.unknown_token_id ?? 0];
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...literal].sort((a, b) => a - b).map((id) => ({ id, content: keys.tokens[id]!, special: special.has(id), ...ADDED })),
    normalizer: {
      type: 'Sequence',
      normalizers: [...(spaced ? [{ type: 'Prepend', prepend: '▁' }] : []), { type: 'Replace', pattern: { String: ' ' }, content: '▁' }],
    },
    pre_tokenizer: null,
    post_processor: (keys.add_bos_token ?? true) ? bosFirst(keys) : null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(spaced ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: { ...BPE, type: 'BPE', unk_token: unknown, fuse_unk: true, byte_fallback: true, vocab, merges: mergesOf(keys.tokens, scores, vocab, literal) },
  };
}

function mergesOf(tokens: readonly string[], scores: readonly number[], vocab: Readonly<Record<string, number>>, literal: ReadonlySet<number>): [string, string][] {
  const order = tokens.map((_, id) => id).filter((id) => !literal.has(id) && vocab[tokens[id]!] === id);
  order.sort((a, b) => scores[b]! - scores[a]! || a - b);
  return order.flatMap((id) => {
    const characters = [...tokens[id]!];
    const cuts: [string, string][] = [];
    for (let at = 1; at < characters.length; at++) {
      const [left, right] = [characters.slice(0, at).join(''), characters.slice(at).join('')];
      if (vocab[left] !== undefined && vocab[right] !== undefined) cuts.push([left, right]);
    }
    return cuts.sort((x, y) => vocab[x[0]]! - vocab[y[0]]! || vocab[x[1]]! - vocab[y[1]]!);
  });
}

function bosFirst({ tokens, bos_token_id: bos }: GgufTokenizerKeys): object | null {
  if (bos === null) return null;
  const token = tokens[bos]!;
  const text = { Sequence: { id: 'A', type_id: 0 } };
  const first = { SpecialToken: { id: token, type_id: 0 } };
  return {
    type: 'TemplateProcessing',
    single: [first, text],
    pair: [first, text, { SpecialToken: { id: token, type_id: 1 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { [token]: { id: token, ids: [bos], tokens: [token] } },
  };
}

function configFile(keys: GgufTokenizerKeys, add_bos_token: boolean): object {
  const token = (id: number | null): string | null => (id === null ? null : (keys.tokens[id] ?? null));
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: token(keys.bos_token_id),
    eos_token: token(keys.eos_token_id),
    unk_token: token(keys.unknown_token_id),
    pad_token: token(keys.padding_token_id),
    add_bos_token,
    add_eos_token: keys.add_eos_token ?? false,
    clean_up_tokenization_spaces: false,
  };
}
