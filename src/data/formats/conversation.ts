import type { Message } from '../chat/render';
import { EMPTY_REPLY, lacks, type Content, type Unusable } from './row';

/** The roles that templates know, under the names that data sets use. */
const ROLES: Record<string, string> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  human: 'user',
  prompter: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  chatgpt: 'assistant',
  bot: 'assistant',
  model: 'assistant',
  bard: 'assistant',
  bing: 'assistant',
};

/** A list of turns as a conversation, under whichever keys hold a turn's role and text. */
export function readConversation(turns: unknown, roleKey: string, textKey: string): Content | Unusable {
  if (!Array.isArray(turns)) return { one: 'has a conversation that is not a list', many: 'have a conversation that is not a list' };
  const messages: Message[] = [];
  for (const turn of turns as unknown[]) {
    const message = readTurn(turn, roleKey, textKey);
    if ('one' in message) return message;
    messages.push(message);
  }
  return checked(messages);
}

function readTurn(turn: unknown, roleKey: string, textKey: string): Message | Unusable {
  if (typeof turn !== 'object' || turn === null) return { one: 'has a turn that is not an object', many: 'have a turn that is not an object' };
  const fields = turn as Record<string, unknown>;
  const named = fields[roleKey];
  if (typeof named !== 'string') return { one: `has a turn without "${roleKey}"`, many: `have a turn without "${roleKey}"` };
  const key = named.trim().toLowerCase();
  const role = Object.hasOwn(ROLES, key) ? ROLES[key]! : null;
  if (role === null || fields.tool_calls) {
    const what = fields.tool_calls ? 'calls tools' : `has a turn by "${named.slice(0, 40)}"`;
    const many = fields.tool_calls ? 'call tools' : `have a turn by "${named.slice(0, 40)}"`;
    return { one: `${what}, which Hone does not train on`, many: `${many}, which Hone does not train on` };
  }
  const content = contentText(fields[textKey]);
  if (content === null) return { one: `has a turn whose "${textKey}" is not text`, many: `have a turn whose "${textKey}" is not text` };
  return { role, content };
}

/** A turn's text: a string, or the text parts of OpenAI's list form. */
function contentText(content: unknown): string | null {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return null;
  const parts = (content as unknown[]).map((part) => {
    const text = typeof part === 'object' && part !== null ? (part as { text?: unknown }).text : part;
    return typeof text === 'string' ? text : null;
  });
  return parts.every((part) => part !== null) ? parts.join('') : null;
}

function checked(messages: Message[]): Content | Unusable {
  const replies = messages.filter((message) => message.role === 'assistant');
  if (replies.length === 0) return lacks('an assistant message');
  if (replies.some((reply) => reply.content.trim() === '')) return EMPTY_REPLY;
  return { kind: 'chat', messages };
}

/** True where user and assistant take turns, the user first, after system messages at most at the start. */
export function rolesAlternate(messages: readonly Message[]): boolean {
  const first = messages.findIndex((message) => message.role !== 'system');
  return messages.slice(Math.max(first, 0)).every((message, i) => message.role === (i % 2 === 0 ? 'user' : 'assistant'));
}
