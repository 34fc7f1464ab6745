import { describe, expect, it } from 'vitest';
import { TokenizerError } from '../../src/core/errors';
import type { GgufTokenizerKeys } from '../../src/core/model';
import { buildTokenizer } from '../../src/data/tokenizer/tokenizer';
import { BYTE_TO_CHARACTER } from '../../src/data/tokenizer/vocabulary';

const bytes = [...BYTE_TO_CHARACTER];

/** A byte-level tokenizer of 256 bytes, a few merges and two added tokens. */
function byteLevelJson(normalizer: object | null = null): object {
  const merges = [['h', 'e'], ['l', 'l'], ['Ġ', 'he'], ['he', 'll']];
  const tokens = [...bytes, ...merges.map((pair) => pair.join(''))];
  return {
    normalizer,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: { '<s>': { id: '<s>', ids: [300], tokens: ['<s>'] } },
    },
    decoder: { type: 'ByteLevel' },
    added_tokens: [
      { id: 300, content: '<s>', special: true, normalized: false },
      { id: 301, content: '<|end|>', special: true, normalized: false, rstrip: true },
      { id: 302, content: '<tool>', special: false, normalized: false },
    ],
  };
}

const config = { bos_token: '<s>', eos_token: { content: '<|end|>', lstrip: false } };

/** Llama 2's kind of tokenizer.json: BPE over characters, spaces as "▁", bytes for the rest. */
function sentencePieceJson(): object {
  const byteTokens = bytes.map((_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const tokens = ['<unk>', '<s>', '</s>', ...byteTokens, '▁', 'h', 'i', 'hi', '▁hi', '▁▁'];
  return {
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, { type: 'Replace', pattern: { String: ' ' }, content: '▁' }] },
    pre_tokenizer: null,
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: ['h i', '▁ hi', '▁ ▁'],
      unk_token: '<unk>',
      byte_fallback: true,
      fuse_unk: true,
    },
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [{ type: 'Replace', pattern: { String: '▁' }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }, { type: 'Strip', content: ' ', start: 1, stop: 0 }],
    },
    added_tokens: [0, 1, 2].map((id) => ({ id, content: tokens[id], special: true, normalized: false })),
  };
}

describe('a tokenizer from tokenizer.json', () => {
  const tokenizer = buildTokenizer({ kind: 'huggingface', tokenizer: byteLevelJson(), config });

  it('encodes with its merges, special tokens and BOS', () => {
    expect(tokenizer.encode('hello hell', { addSpecial: true }).map((id) => tokenizer.token(id))).toEqual(['<s>', 'hell', 'o', 'Ġhe', 'll']);
    expect(tokenizer.bosId).toBe(300);
    expect(tokenizer.eosToken).toBe('<|end|>');
    expect(tokenizer.addsBos).toBe(true);
    expect(tokenizer.vocabSize).toBe(303);
  });

  it('leaves special tokens spelled out on request, but not the others', () => {
    expect(tokenizer.encode('<s>he', { parseSpecial: false }).map((id) => tokenizer.token(id))).toEqual(['<', 's', '>', 'he']);
    expect(tokenizer.encode('<tool>', { parseSpecial: false })).toEqual([302]);
    expect(tokenizer.isSpecial(302)).toBe(false);
  });

  it('places tokens around the whitespace that a special token swallows', () => {
    const text = 'he<|end|>\n hell';
    const { ids, starts, ends } = tokenizer.encodeWithOffsets(text);
    expect(ids.map((_, i) => text.slice(starts[i], ends[i]))).toEqual(['he', '<|end|>', 'hell']);
  });

  it('places tokens of composed text in the text as it was given', () => {
    const composing = buildTokenizer({ kind: 'huggingface', tokenizer: byteLevelJson({ type: 'NFC' }), config });
    const text = 'xe\u0301y\u1112\u1161\u11abz';
    const { ids, starts, ends } = composing.encodeWithOffsets(text);
    expect(composing.decode(ids)).toBe(text.normalize('NFC'));
    const cut = ids.map((_, i) => text.slice(starts[i], ends[i]));
    expect(cut).toEqual(['x', 'e\u0301', 'e\u0301', 'y', '\u1112\u1161\u11ab', '\u1112\u1161\u11ab', '\u1112\u1161\u11ab', 'z']);
  });

  it('reads the SentencePiece form with byte tokens and an invented space', () => {
    const spm = buildTokenizer({ kind: 'huggingface', tokenizer: sentencePieceJson(), config: { bos_token: '<s>', eos_token: '</s>' } });
    const { ids, starts, ends } = spm.encodeWithOffsets('hié  hi');
    expect(ids.map((id) => spm.token(id))).toEqual(['▁hi', '<0xC3>', '<0xA9>', '▁', '▁hi']);
    expect(ids.map((_, i) => 'hié  hi'.slice(starts[i], ends[i]))).toEqual(['hi', 'é', 'é', ' ', ' hi']);
    expect(spm.decode(ids)).toBe('hié  hi');
  });

  it('refuses a file without merges, of another kind, or with wild ids, in a sentence', () => {
    const build = (tokenizer: object) => () => buildTokenizer({ kind: 'huggingface', tokenizer, config });
    expect(build({})).toThrow(TokenizerError);
    expect(build({ ...byteLevelJson(), model: { type: 'BPE', vocab: { a: 0 } } })).toThrow(/without merges/);
    expect(build({ ...byteLevelJson(), model: { type: 'WordPiece', vocab: { a: 0 } } })).toThrow(/WordPiece/);
    expect(build({ ...byteLevelJson(), model: { type: 'BPE', vocab: { a: 1e12 }, merges: [] } })).toThrow(/id 1000000000000/);
    expect(build({ ...byteLevelJson(), pre_tokenizer: { type: 'Nonsense' } })).toThrow(TokenizerError);
  });
});

describe('a tokenizer from GGUF keys', () => {
  const keys: GgufTokenizerKeys = {
    model: 'gpt2',
    pre: 'gpt-2',
    tokens: [...bytes, 'he', 'constructor', '__proto__'],
    token_type: null,
    scores: null,
    merges: ['h e'],
    bos_token_id: null,
    eos_token_id: null,
    eot_token_id: null,
    unknown_token_id: null,
    padding_token_id: null,
    add_bos_token: null,
    add_eos_token: null,
    add_space_prefix: null,
  };
  const build = (changed: Partial<GgufTokenizerKeys>) => () => buildTokenizer({ kind: 'gguf', keys: { ...keys, ...changed } });

  it('is not confused by tokens that are names of object properties', () => {
    const tokenizer = build({})();
    expect(tokenizer.tokenId('__proto__')).toBe(258);
    expect(tokenizer.decode(tokenizer.encode('the __proto__ constructor'))).toBe('the __proto__ constructor');
  });

  it('is refused with what is missing', () => {
    expect(build({ merges: null })).toThrow(/without tokenizer.ggml.merges/);
    expect(build({ merges: ['he'] })).toThrow(/merges\[0\]/);
    expect(build({ pre: 'klingon' })).toThrow(/"klingon"; Hone knows default, gpt-2/);
    expect(build({ pre: 'toString' })).toThrow(TokenizerError);
    expect(build({ model: 'bert' })).toThrow(/"bert"/);
    expect(build({ token_type: [1] })).toThrow(/token_type has 1 values/);
    expect(build({ model: 'llama', scores: [0] })).toThrow(/scores has 1 values/);
    expect(build({ tokens: [] })).toThrow(TokenizerError);
    expect(() => build({})().decode([9999])).toThrow(/Token 9999/);
  });
});
