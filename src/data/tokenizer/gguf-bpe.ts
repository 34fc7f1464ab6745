import { TokenizerError } from '../../core/errors';
import type { GgufTokenizerKeys } from '../../core/model';
import { tokenizerJsonEncoder } from './huggingface';
import { literalTokens, tokenTypes } from './literals';
import { preTokenizer } from './pretokenizers';
import type { Encoder } from './encoder';
import { Vocabulary } from './vocabulary';

/**
 * The `gpt2` tokenizer of GGUF files, byte-level BPE: the keys are put into the form of a tokenizer.json
 * and run by the same code as one.
 */
export function byteLevelEncoder(keys: GgufTokenizerKeys): Encoder {
  const { literal, special } = literalTokens(keys.tokens, tokenTypes(keys));
  const prefix = addsBos(keys) && keys.bos_token_id !== null ? [keys.bos_token_id] : [];
  return {
    vocabulary: new Vocabulary(keys.tokens, 'byte-level', literal, special),
    bosId: keys.bos_token_id,
    eosId: keys.eos_token_id,
    prefix,
    suffix: keys.add_eos_token && keys.eos_token_id !== null ? [keys.eos_token_id] : [],
    prefixSpace: 'none',
    composes: false,
    encode: tokenizerJsonEncoder(byteLevelJson(keys)),
  };
}

/** Whether a BOS goes in front of every text: as the file says, else as its pre-tokenizer does. */
export function addsBos(keys: GgufTokenizerKeys): boolean {
  return keys.add_bos_token ?? preTokenizer(keys.pre).addBos ?? false;
}

/** The keys as a tokenizer.json that adds nothing around a text. Throws a TokenizerError where they lack the merges or name an unknown rule. */
export function byteLevelJson(keys: GgufTokenizerKeys) {
  if (!keys.merges) {
    throw new TokenizerError('The GGUF file has a gpt2 tokenizer without tokenizer.ggml.merges; export it again with a current converter.');
  }
  const { literal, special } = literalTokens(keys.tokens, tokenTypes(keys));
  const rule = preTokenizer(keys.pre);
  // A null prototype: `__proto__` and `constructor` are tokens of real vocabularies.
  const vocab: Record<string, number> = Object.create(null) as Record<string, number>;
  keys.tokens.forEach((token, id) => {
    if (token !== '') vocab[token] ??= id;
  });
  return {
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        ...rule.patterns.map((pattern) => ({ type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false })),
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
      ],
    },
    model: { type: 'BPE', vocab, merges: splitMerges(keys.merges), ignore_merges: rule.ignoreMerges ?? false },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    added_tokens: [...literal].map((id) => ({ id, content: keys.tokens[id]!, special: special.has(id), normalized: false })),
  };
}

/** `"a b"` to `["a", "b"]`: a space never stands inside a byte-level token. */
function splitMerges(merges: readonly string[]): [string, string][] {
  return merges.map((merge, i) => {
    const space = merge.indexOf(' ', 1);
    if (space < 1 || space === merge.length - 1) {
      throw new TokenizerError(`tokenizer.ggml.merges[${i}] is ${JSON.stringify(merge)}, not two tokens with a space between; export the GGUF file again.`);
    }
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}
