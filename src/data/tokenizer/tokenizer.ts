import type { GgufTokenizerKeys, TokenizerSource } from '../../core/model';
import { TokenizerError } from '../../core/errors';
import type { Encoder, TokenOffsets } from './encoder';
import { byteLevelEncoder } from './gguf-bpe';
import { huggingfaceEncoder } from './huggingface';
import { alternation } from './literals';
import { alignTokens } from './offsets';
import { withPlainText } from './plain-text';
import { StreamingDecoder } from './vocabulary';
import { sentencePieceEncoder } from './sentencepiece';

export type { TokenOffsets } from './encoder';
export { StreamingDecoder } from './vocabulary';

export interface EncodeOptions {
  /** Put the tokenizer's own BOS (and EOS, where it has one) around the text. Off by default: rendered chats carry theirs. */
  addSpecial?: boolean;
  /** Read `<|im_end|>` and the like in the text as the special token they spell. On by default. */
  parseSpecial?: boolean;
}

export interface OffsetOptions extends EncodeOptions {
  /** Stretches of the text, in UTF-16 units, where special tokens are ordinary text: what people wrote into messages. */
  plain?: readonly { start: number; end: number }[];
}

/** A model's tokenizer: text to ids and back, with the place of each token in the text. */
export class Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  /** The special tokens' text, '' where there is none: what templates call `bos_token` and `eos_token`. */
  readonly bosToken: string;
  readonly eosToken: string;
  /** True where `addSpecial` puts a BOS in front. */
  readonly addsBos: boolean;
  /** The text of every special token: how a template's end token is told from ordinary text. */
  readonly specialTokens: readonly string[];
  private readonly specialPattern: RegExp | null;

  constructor(private readonly encoder: Encoder) {
    this.vocabSize = encoder.vocabulary.size;
    this.bosId = encoder.bosId;
    this.eosId = encoder.eosId;
    this.bosToken = encoder.bosId === null ? '' : encoder.vocabulary.token(encoder.bosId);
    this.eosToken = encoder.eosId === null ? '' : encoder.vocabulary.token(encoder.eosId);
    this.addsBos = encoder.bosId !== null && encoder.prefix[0] === encoder.bosId;
    this.specialTokens = encoder.vocabulary.specialTokens().filter((token) => token !== '');
    this.specialPattern = alternation([...this.specialTokens]);
  }

  /** The text's token ids. */
  encode(text: string, { addSpecial = false, parseSpecial = true }: EncodeOptions = {}): number[] {
    const ids = this.encoder.encode(wellFormed(text), parseSpecial);
    return addSpecial ? [...this.encoder.prefix, ...ids, ...this.encoder.suffix] : ids;
  }

  /** The text's token ids and where each token stands in the text. Throws a TokenizerError where tokens do not spell the text. */
  encodeWithOffsets(text: string, { addSpecial = false, parseSpecial = true, plain = [] }: OffsetOptions = {}): TokenOffsets {
    const spelled = wellFormed(text);
    const place = (part: string, parse: boolean, continues: boolean): TokenOffsets => {
      const ids = this.encoder.encode(part, parse, continues);
      return { ids, ...alignTokens(part, ids, this.encoder) };
    };
    const parsed = place(spelled, parseSpecial, false);
    const { ids, starts, ends } =
      plain.length === 0
        ? parsed
        : withPlainText(spelled, parsed, plain, (id) => this.isSpecial(id), (part, continues) => place(part, false, continues));
    if (!addSpecial) return { ids, starts, ends };
    const before = this.encoder.prefix.map(() => 0);
    const after = this.encoder.suffix.map(() => text.length);
    return {
      ids: [...this.encoder.prefix, ...ids, ...this.encoder.suffix],
      starts: [...before, ...starts, ...after],
      ends: [...before, ...ends, ...after],
    };
  }

  /** The special tokens that a text spells, and where they begin. */
  spelledSpecial(text: string): { start: number; token: string }[] {
    if (!this.specialPattern) return [];
    return Array.from(text.matchAll(this.specialPattern), ({ 0: token, index }) => ({ start: index, token }));
  }

  /** The ids' text; invalid UTF-8 becomes U+FFFD. `skipSpecial` leaves special tokens out. */
  decode(ids: readonly number[], { skipSpecial = false }: { skipSpecial?: boolean } = {}): string {
    const decoder = this.decoder({ skipSpecial });
    const text = ids.map((id) => decoder.push(id)).join('') + decoder.end();
    const invented = this.encoder.prefixSpace !== 'none' && ids.length > 0 && !this.isSpecial(ids[0]!) && text.startsWith(' ');
    return invented ? text.slice(1) : text;
  }

  /** A decoder for ids that arrive one by one: gives text as soon as its characters are whole. */
  decoder({ skipSpecial = false }: { skipSpecial?: boolean } = {}): StreamingDecoder {
    return new StreamingDecoder(this.encoder.vocabulary, skipSpecial);
  }

  /** The token as its vocabulary spells it (`Ġthe`, `▁the`, `<0x0A>`). */
  token(id: number): string {
    return this.encoder.vocabulary.token(id);
  }

  /** The id of a token as its vocabulary spells it, or null. */
  tokenId(token: string): number | null {
    return this.encoder.vocabulary.id(token);
  }

  /** Control tokens such as BOS, EOS and turn marks; skipped by `decode(…, {skipSpecial})`. */
  isSpecial(id: number): boolean {
    return this.encoder.vocabulary.isSpecial(id);
  }
}

/** Halves of surrogate pairs have no UTF-8; they become U+FFFD, which keeps every other character in its place. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

/**
 * The working tokenizer of a model, from its tokenizer.json or from a GGUF's `tokenizer.ggml.*` keys.
 * Throws a TokenizerError where the source is of a kind that is not read, or lacks a part.
 */
export function buildTokenizer(source: TokenizerSource): Tokenizer {
  if (source.kind === 'huggingface') return new Tokenizer(huggingfaceEncoder(source.tokenizer, source.config));
  return new Tokenizer(ggufEncoder(source.keys));
}

function ggufEncoder(keys: GgufTokenizerKeys): Encoder {
  if (keys.tokens.length === 0) throw new TokenizerError('The GGUF file has no tokenizer.ggml.tokens; use a file that carries its vocabulary.');
  if (keys.model === 'gpt2') return byteLevelEncoder(keys);
  if (keys.model === 'llama') return sentencePieceEncoder(keys);
  throw new TokenizerError(
    `The GGUF file's tokenizer.ggml.model is "${keys.model}"; Hone reads "gpt2" (byte-level BPE) and "llama" (SentencePiece). Use another export of the model.`,
  );
}
