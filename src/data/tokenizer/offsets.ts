import { TokenizerError } from '../../core/errors';
import type { Vocabulary } from './vocabulary';

/**
 * Whether a space that the text does not have stands before its first token, and before the first token after a
 * special one: `always`, or `missing` where it is added only to text that does not begin with one.
 */
export type PrefixSpace = 'none' | 'always' | 'missing' | 'first-missing';

interface Spelling {
  vocabulary: Vocabulary;
  prefixSpace: PrefixSpace;
  composes: boolean;
}

const SPACE = 0x20;

/**
 * Finds each token's place in the text by spelling it out: the tokens' bytes, one after another, are the text's
 * UTF-8 bytes but for invented leading spaces, whitespace that special tokens swallow, and unknown tokens.
 * Returns UTF-16 positions; a token that starts or ends inside a character covers the whole of it.
 */
export function alignTokens(text: string, ids: readonly number[], spelling: Spelling): { starts: number[]; ends: number[] } {
  // SentencePiece spells a space and "▁" alike, and both are one unit long.
  const spaced = spelling.vocabulary.spelling === 'sentencepiece' ? text.replaceAll('▁', ' ') : text;
  const { bytes, positions } = textBytes(spaced, spelling.composes);
  const spaces = (byte: number): boolean => /^\p{White_Space}/u.test(text.slice(positions[byte], positions[byte]! + 1));
  const starts: number[] = [];
  const ends: number[] = [];
  let at = 0;
  let fresh = true;
  ids.forEach((id, i) => {
    const literal = spelling.vocabulary.isLiteral(id);
    const whole = spelling.vocabulary.bytes(id);
    const invented = fresh && !literal && inventsSpace(spelling.prefixSpace, i === 0, whole, bytes, at);
    const piece = invented ? whole.subarray(1) : whole;
    const [from, to] = place(bytes, at, piece, spaces) ?? unknown(text, ids, i, spelling, bytes, at);
    starts.push(positions[from]!);
    ends.push(from === to ? positions[from]! : ceiling(positions, to));
    at = to;
    fresh = literal;
  });
  return { starts, ends };
}

function inventsSpace(mode: PrefixSpace, first: boolean, piece: Uint8Array, bytes: Uint8Array, at: number): boolean {
  if (mode === 'none' || piece[0] !== SPACE || (mode === 'first-missing' && !first)) return false;
  return mode === 'always' || bytes[at] !== SPACE;
}

/** The byte range of `piece` at `at`, or after whitespace there that a special token has swallowed. */
function place(bytes: Uint8Array, at: number, piece: Uint8Array, isSpace: (byte: number) => boolean): [number, number] | null {
  for (let from = at; ; from++) {
    if (matches(bytes, from, piece)) return [from, from + piece.length];
    if (from >= bytes.length || !isSpace(from)) return null;
  }
}

/** An unknown token covers everything up to where the next token is found again. */
function unknown(text: string, ids: readonly number[], i: number, spelling: Spelling, bytes: Uint8Array, at: number): [number, number] {
  const next = ids[i + 1];
  if (next === undefined && at < bytes.length) return [at, bytes.length];
  if (next !== undefined) {
    const piece = spelling.vocabulary.bytes(next);
    for (let to = at + 1; to < bytes.length; to++) if (matches(bytes, to, piece)) return [at, to];
  }
  throw new TokenizerError(
    `Token ${ids[i]} (${JSON.stringify(spelling.vocabulary.token(ids[i]!))}) does not spell the text at byte ${at} of ` +
      `${JSON.stringify(text.slice(0, 40))}; this tokenizer rewrites its input, so replies cannot be marked. Use another tokenizer.json.`,
  );
}

function matches(bytes: Uint8Array, at: number, piece: Uint8Array): boolean {
  if (at + piece.length > bytes.length) return false;
  for (let i = 0; i < piece.length; i++) if (bytes[at + i] !== piece[i]) return false;
  return true;
}

/** The position after the character that byte `to - 1` belongs to. */
function ceiling(positions: Int32Array, to: number): number {
  let next = to;
  while (next < positions.length - 1 && positions[next] === positions[to - 1]) next++;
  return positions[next]!;
}

/** The text's UTF-8 bytes and, for each byte and the end, the UTF-16 position of its character in the text as given. */
function textBytes(text: string, composes: boolean): { bytes: Uint8Array; positions: Int32Array } {
  const runs = composes && text.normalize('NFC') !== text ? composedRuns(text) : null;
  const spelled = runs ? runs.map((run) => run.text).join('') : text;
  const bytes = new TextEncoder().encode(spelled);
  const positions = new Int32Array(bytes.length + 1);
  let byte = 0;
  const put = (character: string, position: number): void => {
    const code = character.codePointAt(0)!;
    const length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    positions.fill(position, byte, byte + length);
    byte += length;
  };
  if (runs) {
    for (const run of runs) for (const character of run.text) put(character, run.position);
  } else {
    let position = 0;
    for (const character of text) {
      put(character, position);
      position += character.length;
    }
  }
  positions[byte] = text.length;
  return { bytes, positions };
}

/** A character with what may compose onto it: combining marks, and the vowels and finals of Hangul. */
const COMPOSING_RUN = /[^][\p{M}\u1160-\u11ff]*/gu;

function composedRuns(text: string): { text: string; position: number }[] {
  return Array.from(text.matchAll(COMPOSING_RUN), (match) => ({ text: match[0].normalize('NFC'), position: match.index }));
}
