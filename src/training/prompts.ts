import { renderChat, type Message } from '../data/chat/render';
import type { ChosenTemplate } from '../data/chat/templates';
import type { Row } from '../data/dataset';
import { messageControls, templateContext } from '../data/tokenize';
import type { Tokenizer } from '../data/tokenizer/tokenizer';

/** A question to the model, as people read it and as token ids. */
export interface Prompt {
  prompt: string;
  ids: number[];
}

/** Words of a running text that a sample continues. */
const OPENING_WORDS = 8;

/**
 * A conversation as the model is asked it: rendered up to the assistant's turn, with the BOS that training puts in front. Control
 * tokens that a message spells are plain text, as in training.
 */
export function chatPrompt(messages: readonly Message[], tokenizer: Tokenizer, template: ChosenTemplate): number[] {
  const text = renderChat(template.template, messages, { ...templateContext(tokenizer), addGenerationPrompt: true });
  const { plain } = messageControls(messages, text, tokenizer, template, true);
  return withBos(plain.length === 0 ? tokenizer.encode(text) : tokenizer.encodeWithOffsets(text, { plain }).ids, tokenizer);
}

/** A text that the model is to continue as it stands. */
export function textPrompt(text: string, tokenizer: Tokenizer): number[] {
  return withBos(tokenizer.encode(text), tokenizer);
}

/** A row's question: a chat up to its first user turn, a completion's prompt, a text's first words; null where it has none. */
export function rowPrompt(row: Row, tokenizer: Tokenizer, template: ChosenTemplate): Prompt | null {
  switch (row.kind) {
    case 'chat': {
      const first = row.messages.findIndex((message) => message.role === 'user');
      if (first < 0) return null;
      return { prompt: row.messages[first]!.content, ids: chatPrompt(row.messages.slice(0, first + 1), tokenizer, template) };
    }
    case 'completion': {
      if (row.system === null && template.name === 'plain') return { prompt: row.prompt, ids: textPrompt(row.prompt, tokenizer) };
      const system = row.system === null ? [] : [{ role: 'system', content: row.system }];
      return { prompt: row.prompt, ids: chatPrompt([...system, { role: 'user', content: row.prompt }], tokenizer, template) };
    }
    case 'text': {
      const words = row.text.trimStart().split(/(?<=\s)/);
      const opening = words.slice(0, Math.min(OPENING_WORDS, Math.ceil(words.length / 2))).join('').trimEnd();
      return opening === '' ? null : { prompt: opening, ids: textPrompt(opening, tokenizer) };
    }
    case 'tokens':
      return null;
  }
}

function withBos(ids: number[], tokenizer: Tokenizer): number[] {
  return tokenizer.addsBos && ids[0] !== tokenizer.bosId ? [tokenizer.bosId!, ...ids] : ids;
}
