import { TokenizerError } from '../../core/errors';

/** How a vocabulary spells bytes: GPT-2's printable stand-ins, or SentencePiece's `▁` and `<0xNN>`. */
export type Spelling = 'byte-level' | 'sentencepiece';

/** GPT-2's byte alphabet: printable Latin-1 stands for itself, every other byte for a character from U+0100 on. */
export const BYTE_TO_CHARACTER: readonly string[] = byteAlphabet();
const CHARACTER_TO_BYTE = new Map(BYTE_TO_CHARACTER.map((character, byte) => [character, byte]));

function byteAlphabet(): string[] {
  const alphabet: string[] = [];
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    alphabet.push(String.fromCharCode(printable ? byte : next++));
  }
  return alphabet;
}

const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;
const utf8 = new TextEncoder();

/** A vocabulary: tokens by id, the bytes that each stands for, and which are special. */
export class Vocabulary {
  private readonly ids = new Map<string, number>();
  private readonly byteCache: (Uint8Array | undefined)[] = [];

  /**
   * `literal` ids stand for their own text (special and user-defined tokens); of these, `special` ids are control tokens.
   * Gaps in `tokens` are ids without a token.
   */
  constructor(
    private readonly tokens: readonly (string | undefined)[],
    readonly spelling: Spelling,
    private readonly literal: ReadonlySet<number>,
    private readonly special: ReadonlySet<number>,
  ) {
    tokens.forEach((token, id) => {
      if (token !== undefined && !this.ids.has(token)) this.ids.set(token, id);
    });
  }

  get size(): number {
    return this.tokens.length;
  }

  token(id: number): string {
    return this.tokens[id] ?? '';
  }

  id(token: string): number | null {
    return this.ids.get(token) ?? null;
  }

  isSpecial(id: number): boolean {
    return this.special.has(id);
  }

  specialTokens(): string[] {
    return [...this.special].map((id) => this.token(id));
  }

  /** True for tokens that are found in the text as they are, before any splitting. */
  isLiteral(id: number): boolean {
    return this.literal.has(id);
  }

  /** The UTF-8 bytes that a token stands for; part of a character's bytes is possible. */
  bytes(id: number): Uint8Array {
    return (this.byteCache[id] ??= this.spell(id));
  }

  private spell(id: number): Uint8Array {
    const token = this.tokens[id];
    if (token === undefined) return new Uint8Array(0);
    if (this.spelling === 'sentencepiece') {
      const byte = this.literal.has(id) ? null : BYTE_TOKEN.exec(token);
      return byte ? Uint8Array.of(Number.parseInt(byte[1]!, 16)) : utf8.encode(token.replaceAll('▁', ' '));
    }
    if (this.literal.has(id)) return utf8.encode(token);
    const bytes = Array.from(token, (character) => CHARACTER_TO_BYTE.get(character));
    return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : utf8.encode(token);
  }
}

/** Turns ids that arrive one by one into text, holding bytes back until their character is whole. */
export class StreamingDecoder {
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  constructor(
    private readonly vocabulary: Vocabulary,
    private readonly skipSpecial: boolean,
  ) {}

  /** The text that this token completes; '' while a character is still in parts. */
  push(id: number): string {
    if (!Number.isInteger(id) || id < 0 || id >= this.vocabulary.size) {
      throw new TokenizerError(`Token ${id} is outside the vocabulary of ${this.vocabulary.size}; these ids belong to another tokenizer.`);
    }
    if (this.skipSpecial && this.vocabulary.isSpecial(id)) return '';
    return this.decoder.decode(this.vocabulary.bytes(id), { stream: true });
  }

  /** What is left: U+FFFD for a character that never became whole. */
  end(): string {
    return this.decoder.decode();
  }
}
