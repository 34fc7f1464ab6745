import { TokenizerError } from '../../core/errors';
import type { GgufTokenizerKeys } from '../../core/model';
import { splitLiterals, literalTokens, tokenTypes } from './literals';
import type { Encoder } from './encoder';
import { Vocabulary } from './vocabulary';

/** A piece of the text while pieces are merged: a doubly linked list over array slots. */
interface Pieces {
  text: string[];
  previous: number[];
  next: number[];
}

interface Pair {
  left: number;
  right: number;
  score: number;
  /** The pair's text when it was queued: where the pieces have changed since, the pair is stale. */
  text: string;
}

/** Phi-3's special tokens that leave the white space behind them. */
const KEEP_SPACE = new Set(['<unk>', '<s>', '<|endoftext|>']);

/**
 * The `llama` tokenizer of GGUF files: SentencePiece's BPE, which merges, over and over, the adjacent pair whose
 * joined text has the best score (the leftmost of equals), then spells what is not in the vocabulary in byte tokens.
 */
export function sentencePieceEncoder(keys: GgufTokenizerKeys): Encoder {
  const types = tokenTypes(keys);
  const { literal, special } = literalTokens(keys.tokens, types);
  const vocabulary = new Vocabulary(keys.tokens, 'sentencepiece', literal, special);
  const scores = keys.scores ?? keys.tokens.map(() => 0);
  if (scores.length !== keys.tokens.length) {
    throw new TokenizerError(
      `tokenizer.ggml.scores has ${scores.length} values for ${keys.tokens.length} tokens; export the GGUF file again with a current converter.`,
    );
  }
  const addSpace = keys.add_space_prefix ?? true;
  const bosId = keys.bos_token_id ?? vocabulary.id('<s>');
  const eosId = keys.eos_token_id ?? vocabulary.id('</s>');
  const unknownId = keys.unknown_token_id ?? vocabulary.id('<unk>');
  return {
    vocabulary,
    bosId,
    eosId,
    prefix: (keys.add_bos_token ?? true) && bosId !== null ? [bosId] : [],
    suffix: keys.add_eos_token && eosId !== null ? [eosId] : [],
    prefixSpace: addSpace ? 'always' : 'none',
    composes: false,
    encode(text, parseSpecial) {
      const ids: number[] = [];
      let strips = false;
      for (const part of splitLiterals(text, vocabulary, literal, parseSpecial)) {
        if (typeof part === 'number') {
          ids.push(part);
          strips = keys.special_strip_right === true && !KEEP_SPACE.has(vocabulary.token(part));
          continue;
        }
        const rest = strips ? part.replace(/^[ \t-\r]+/, '') : part;
        if (rest === '') continue;
        for (const piece of mergePieces((addSpace ? ' ' : '') + rest, vocabulary, scores)) pushPiece(ids, piece, vocabulary, unknownId);
      }
      return ids;
    },
  };
}

function mergePieces(text: string, vocabulary: Vocabulary, scores: readonly number[]): string[] {
  const characters = Array.from(text.replaceAll(' ', '▁'));
  const pieces: Pieces = {
    text: characters,
    previous: characters.map((_, i) => i - 1),
    next: characters.map((_, i) => (i + 1 < characters.length ? i + 1 : -1)),
  };
  const queue: Pair[] = [];
  const consider = (left: number, right: number): void => {
    if (left < 0 || right < 0) return;
    const joined = pieces.text[left]! + pieces.text[right]!;
    const id = vocabulary.id(joined);
    if (id !== null) pushHeap(queue, { left, right, score: scores[id]!, text: joined });
  };
  for (let i = 1; i < characters.length; i++) consider(i - 1, i);
  for (let pair = popHeap(queue); pair; pair = popHeap(queue)) {
    const { left, right } = pair;
    if (pieces.next[left] !== right || pieces.text[left]! + pieces.text[right]! !== pair.text) continue;
    pieces.text[left] = pair.text;
    pieces.text[right] = '';
    const after = pieces.next[right]!;
    pieces.next[left] = after;
    pieces.next[right] = -1;
    if (after >= 0) pieces.previous[after] = left;
    consider(pieces.previous[left]!, left);
    consider(left, after);
  }
  return pieces.text.filter((piece) => piece !== '');
}

function pushPiece(ids: number[], piece: string, vocabulary: Vocabulary, unknownId: number | null): void {
  const id = vocabulary.id(piece);
  if (id !== null) {
    ids.push(id);
    return;
  }
  for (const byte of new TextEncoder().encode(piece)) {
    const hex = byte.toString(16).toUpperCase().padStart(2, '0');
    const token = vocabulary.id(`<0x${hex}>`) ?? unknownId;
    if (token === null) throw new TokenizerError(`The vocabulary has no token for byte 0x${hex} and no unknown token; use another export of the model.`);
    ids.push(token);
  }
}

function before(a: Pair, b: Pair): boolean {
  return a.score > b.score || (a.score === b.score && a.left < b.left);
}

function pushHeap(heap: Pair[], pair: Pair): void {
  let at = heap.length;
  heap.push(pair);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!before(pair, heap[parent]!)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = pair;
}

function popHeap(heap: Pair[]): Pair | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (top === undefined || last === undefined || heap.length === 0) return top;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
    if (!before(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return top;
}
