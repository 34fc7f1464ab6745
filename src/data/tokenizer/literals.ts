import type { GgufTokenizerKeys } from '../../core/model';
import { TokenizerError } from '../../core/errors';
import type { Vocabulary } from './vocabulary';

/** `tokenizer.ggml.token_type`. */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** The type of every token; all normal where the file does not say. */
export function tokenTypes(keys: GgufTokenizerKeys): readonly number[] {
  const types = keys.token_type ?? keys.tokens.map(() => TOKEN_TYPE.normal as number);
  if (types.length !== keys.tokens.length) {
    throw new TokenizerError(
      `tokenizer.ggml.token_type has ${types.length} values for ${keys.tokens.length} tokens; export the GGUF file again with a current converter.`,
    );
  }
  return types;
}

/**
 * Tokens that llama.cpp holds for control tokens whatever their type says: ends of turns and texts, and marks of code infilling
 * (src/llama-vocab.cpp). Gemma 3's `</s>`, a tag of HTML, is among them.
 */
const CONTROL_BY_NAME = new Set(
  ('<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> <|eom_id|> <EOT> _<EOT> [EOT] [EOS] ' +
    '<|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response> <|fim_prefix|> <|fim_suffix|> <|fim_middle|> <|fim_pad|> <|fim_repo|> ' +
    '<|repo_name|> <|file_sep|>').split(' '),
);

/** Ids found in text as they are spelled (control, unknown, user-defined), and of these the control ones. */
export function literalTokens(tokens: readonly string[], types: readonly number[]): { literal: Set<number>; special: Set<number> } {
  const literal = new Set<number>();
  const special = new Set<number>();
  types.forEach((type, id) => {
    if (tokens[id] === '') return;
    if (type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown || CONTROL_BY_NAME.has(tokens[id]!)) special.add(id);
    if (special.has(id) || type === TOKEN_TYPE.userDefined) literal.add(id);
  });
  return { literal, special };
}

const patterns = new WeakMap<Vocabulary, { all: RegExp | null; plain: RegExp | null }>();

/**
 * Cuts a text at its literal tokens: ids and the stretches of text between them. Without `parseSpecial` only
 * user-defined tokens are cut out. Longer tokens win over shorter ones at the same place.
 */
export function splitLiterals(text: string, vocabulary: Vocabulary, literal: ReadonlySet<number>, parseSpecial: boolean): (number | string)[] {
  let found = patterns.get(vocabulary);
  if (!found) {
    const tokens = [...literal];
    found = {
      all: alternation(tokens.map((id) => vocabulary.token(id))),
      plain: alternation(tokens.filter((id) => !vocabulary.isSpecial(id)).map((id) => vocabulary.token(id))),
    };
    patterns.set(vocabulary, found);
  }
  const pattern = parseSpecial ? found.all : found.plain;
  if (!pattern) return text === '' ? [] : [text];
  const parts: (number | string)[] = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > at) parts.push(text.slice(at, match.index));
    parts.push(vocabulary.id(match[0])!);
    at = match.index + match[0].length;
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}

/** What finds the tokens in a text, the longest of those that begin at a place; null for none. */
export function alternation(tokens: string[]): RegExp | null {
  if (tokens.length === 0) return null;
  const sorted = [...tokens].sort((a, b) => b.length - a.length);
  return new RegExp(sorted.map((token) => token.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')).join('|'), 'g');
}
