import { TemplateError } from '../../core/errors';
import { renderChat, type Message, type RenderContext } from './render';
import type { Span } from './spans';

/** What conversations spell of a tokenizer's control tokens: `<|im_end|>` typed into a message. */
export interface SpelledControls {
  /** A stretch inside each of them in the rendering: what is to be read as plain text. */
  plain: Span[];
  /** The tokens that are read as plain text, each once. */
  tokens: string[];
  /** The tokens that the chat template itself looks for in messages, so that they cannot be told from its own. */
  read: string[];
}

/** A control token in a message. */
interface Occurrence {
  message: number;
  at: number;
  token: string;
}

/**
 * Finds the control tokens that messages spell, and where they stand in the conversation's rendering `text`: a mark is put into each
 * of them and the conversation rendered again, which gives the same text but for the marks. Where it does not, the template
 * looks into the message for that token (Gemma 4's strips thinking), and the token is left to it.
 * `find` gives the control tokens in a text, `render` what the template makes of messages.
 */
export function spelledControls(
  messages: readonly Message[],
  text: string,
  find: (text: string) => { start: number; token: string }[],
  render: (messages: readonly Message[]) => string,
): SpelledControls {
  const found = messages.flatMap(({ content }, message) => find(content).map(({ start, token }): Occurrence => ({ message, at: start, token })));
  if (found.length === 0) return { plain: [], tokens: [], read: [] };
  const mark = unusedCharacter(messages);
  const positions = (occurrences: readonly Occurrence[]): Span[] | null => {
    const marked = rendered(render, withMarks(messages, occurrences, mark));
    return marked?.replaceAll(mark, '') === text ? markedPlaces(marked, mark) : null;
  };
  const all = positions(found);
  if (all) return { plain: all, tokens: distinct(found), read: [] };
  const inert = groups(found).filter((group) => positions(group) !== null).flat();
  const plain = positions(inert);
  const kept = plain ? found.filter((occurrence) => !inert.includes(occurrence)) : found;
  return { plain: plain ?? [], tokens: plain ? distinct(inert) : [], read: distinct(kept) };
}

/** A private-use character that no message holds. */
function unusedCharacter(messages: readonly Message[]): string {
  for (let code = 0xe100; ; code++) {
    const character = String.fromCharCode(code);
    if (!messages.some(({ content }) => content.includes(character))) return character;
  }
}

/** The messages with a mark after the first character of each occurrence. */
function withMarks(messages: readonly Message[], occurrences: readonly Occurrence[], mark: string): Message[] {
  return messages.map((message, i) => {
    const places = occurrences.filter((occurrence) => occurrence.message === i).map(({ at }) => at + 1);
    const pieces = [0, ...places].map((from, k) => message.content.slice(from, places[k]));
    return { ...message, content: pieces.join(mark) };
  });
}

function rendered(render: (messages: readonly Message[]) => string, messages: readonly Message[]): string | null {
  try {
    return render(messages);
  } catch (error) {
    if (error instanceof TemplateError) return null;
    throw error;
  }
}

/** Where the marked characters stand once the marks are gone. */
function markedPlaces(marked: string, mark: string): Span[] {
  const pieces = marked.split(mark);
  let end = 0;
  return pieces.slice(0, -1).map((piece) => {
    end += piece.length;
    return { start: end - 1, end };
  });
}

/** The occurrences of one token in one message. */
function groups(found: readonly Occurrence[]): Occurrence[][] {
  const keyed = new Map<string, Occurrence[]>();
  for (const occurrence of found) {
    const key = `${occurrence.message} ${occurrence.token}`;
    keyed.set(key, [...(keyed.get(key) ?? []), occurrence]);
  }
  return [...keyed.values()];
}

function distinct(occurrences: readonly Occurrence[]): string[] {
  return [...new Set(occurrences.map(({ token }) => token))];
}

/** `<|user|>`, `<start_of_turn>`, `[INST]`: how templates spell their marks, tokens or not. */
const MARK = /<[^<>\s]{1,40}>|\[\/?[A-Z_]{1,40}\]/g;
/** Replies that think are meant to spell these. */
const THINKING = new Set(['<think>', '</think>']);

/**
 * The marks that a template puts around turns. Where they are no control tokens of the tokenizer (TinyLlama's `<|user|>`, Llama 2's
 * `[INST]`), a message that spells one cannot be told from the template.
 */
export function turnMarks(template: string, context: RenderContext): string[] {
  const chat = ['user', 'assistant', 'user', 'assistant'].map((role) => ({ role, content: 'text' }));
  const text = rendered((messages) => renderChat(template, messages, context), chat);
  return [...new Set(text?.match(MARK) ?? [])].filter((mark) => !THINKING.has(mark));
}
