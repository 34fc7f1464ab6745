/** Trains the demo model's tokenizer: byte-level BPE, in the form of a tokenizer.json. */

const SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
const SPLIT = /<\|[a-z_]+\|>|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

export const CHAT_TEMPLATE =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** GPT-2's alphabet: every byte as a printable character. */
function byteAlphabet() {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
}

/** How often each word stands in the texts, as lists of byte characters. */
function countWords(texts, alphabet) {
  const counts = new Map();
  for (const text of texts) {
    for (const [word] of text.matchAll(SPLIT)) {
      if (!word.startsWith('<|')) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  const encoder = new TextEncoder();
  return [...counts].map(([word, count]) => ({ pieces: Array.from(encoder.encode(word), (byte) => alphabet[byte]), count }));
}

/** The pair of neighbours that occurs most; of equals the first in code order, so that the result is always the same. */
function bestPair(words) {
  const pairs = new Map();
  for (const { pieces, count } of words) {
    for (let i = 1; i < pieces.length; i++) {
      const pair = `${pieces[i - 1]} ${pieces[i]}`;
      pairs.set(pair, (pairs.get(pair) ?? 0) + count);
    }
  }
  let best = null;
  for (const [pair, count] of pairs) {
    if (!best || count > best.count || (count === best.count && pair < best.pair)) best = { pair, count };
  }
  return best;
}

function merge(pieces, left, right) {
  const merged = [];
  for (let i = 0; i < pieces.length; i++) {
    if (pieces[i] === left && pieces[i + 1] === right) {
      merged.push(left + right);
      i++;
    } else {
      merged.push(pieces[i]);
    }
  }
  return merged;
}

/** `size` tokens at most: special ones, 256 bytes, and merges in the order of their frequency (at least 2). */
export function trainTokenizer(texts, size) {
  const alphabet = byteAlphabet();
  const words = countWords(texts, alphabet);
  const merges = [];
  while (SPECIAL.length + alphabet.length + merges.length < size) {
    const best = bestPair(words);
    if (!best || best.count < 2) break;
    const [left, right] = best.pair.split(' ');
    merges.push([left, right]);
    for (const word of words) word.pieces = merge(word.pieces, left, right);
  }
  const tokens = [...SPECIAL, ...[...alphabet].sort((a, b) => (a < b ? -1 : 1)), ...merges.map((pair) => pair.join(''))];
  return tokenizerJson(tokens, merges);
}

function tokenizerJson(tokens, merges) {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Digits', individual_digits: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map((pair) => pair.join(' ')),
    },
  };
}

export const TOKENIZER_CONFIG = {
  tokenizer_class: 'PreTrainedTokenizerFast',
  add_bos_token: false,
  bos_token: '<|endoftext|>',
  eos_token: '<|im_end|>',
  pad_token: '<|endoftext|>',
  clean_up_tokenization_spaces: false,
  model_max_length: 512,
  chat_template: CHAT_TEMPLATE,
};
