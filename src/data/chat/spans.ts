import { TemplateError } from '../../core/errors';
import { renderChat, type Message, type RenderContext } from './render';

/** Which text carries loss: the assistant's replies, the last of them only, or everything. */
export type TrainOn = 'replies' | 'last' | 'all';

/** A stretch of the rendering in UTF-16 units, end exclusive. */
export interface Span {
  start: number;
  end: number;
}

export interface MarkedRendering {
  text: string;
  /** What is trained on, in order, without overlaps. */
  spans: Span[];
}

/** Stand-ins for a reply and for the messages before and after it: no template trims, splits or quotes private-use characters. */
const REPLY = '\uE0F0\uE0F1reply\uE0F2\uE0F3';
const BEFORE = '\uE0F4\uE0F5before\uE0F6\uE0F7';
const AFTER = '\uE0F8\uE0F9after\uE0FA\uE0FB';

/**
 * The full rendering of a conversation and the spans that its loss covers: each reply from after its turn's header to
 * the turn's end token, inclusive. The spans are found in the full rendering, by rendering it again with a stand-in for one
 * reply at a time: what is the same before and after the stand-in is not the reply. (A conversation cut off
 * before a reply may render differently: Qwen 3 gives its last turn an empty think block.)
 * Throws a TemplateError where a reply's place cannot be told, or the conversation has none.
 */
export function trainedSpans(template: string, messages: readonly Message[], context: RenderContext, trainOn: TrainOn = 'replies'): MarkedRendering {
  const text = renderChat(template, messages, context);
  if (trainOn === 'all') return { text, spans: text === '' ? [] : [{ start: 0, end: text.length }] };
  const replies = messages.flatMap((message, i) => (message.role === 'assistant' ? [i] : []));
  const wanted = trainOn === 'last' ? replies.slice(-1) : replies;
  const spans = wanted.flatMap((reply) => replySpan(template, messages, context, reply, text) ?? []);
  if (spans.length === 0) {
    throw new TemplateError(
      replies.length === 0
        ? 'The conversation has no assistant message, so there is nothing to learn from; add a reply.'
        : 'The chat template leaves the assistant messages out, so there is nothing to learn from; use another chat template.',
    );
  }
  return { text, spans };
}

/** The span of one reply in the full rendering `text`, or null where the template leaves it out. */
function replySpan(template: string, messages: readonly Message[], context: RenderContext, reply: number, text: string): Span | null {
  const marked = renderChat(template, replaced(messages, reply, REPLY), context);
  const at = marked.indexOf(REPLY);
  if (at < 0) return null;
  const tail = marked.slice(at + REPLY.length);
  const start = at - spokenBeforeReply(template, messages, context, reply);
  const end = text.length - tail.length + endTokenLength(beforeNext(template, messages, context, reply, tail), context);
  const same = tail.indexOf(REPLY) < 0 && text.endsWith(tail) && text.length - tail.length >= start;
  if (!same || text.slice(0, start) !== marked.slice(0, start)) {
    throw new TemplateError(
      `The chat template changes other text with the assistant's message ${reply + 1}, so Hone cannot tell what to train on; ` +
        `use another chat template, or learn from all text.`,
    );
  }
  return { start, end };
}

/**
 * How much of the text right before a reply's content the model must say itself: what stands between the prompt that
 * asks for a reply and the content (Qwen 3's empty think block), in UTF-16 units. 0 where the template has no such prompt.
 */
function spokenBeforeReply(template: string, messages: readonly Message[], context: RenderContext, reply: number): number {
  if (reply === 0) return 0;
  const before = replaced(replaced(messages, reply, REPLY), reply - 1, BEFORE);
  let full: string;
  let prompt: string;
  let asks: boolean;
  try {
    full = renderChat(template, before, context);
    prompt = renderChat(template, before.slice(0, reply), { ...context, addGenerationPrompt: true });
    asks = prompt !== renderChat(template, before.slice(0, reply), context);
  } catch (error) {
    if (error instanceof TemplateError) return 0;
    throw error;
  }
  const glue = between(full, BEFORE, REPLY);
  const asked = between(prompt, BEFORE, null);
  if (glue === null || asked === null || !glue.startsWith(asked)) return 0;
  const spoken = glue.slice(asked.length);
  // A template that never asks for a reply shows no header; what follows its turns may be one, unless it is blank.
  return asks || spoken.trim() === '' ? spoken.length : 0;
}

/**
 * The part of `tail`, the text after a reply, that ends before the next message's content: what a person writes there is no end token
 * of the reply.
 */
function beforeNext(template: string, messages: readonly Message[], context: RenderContext, reply: number, tail: string): string {
  const next = messages[reply + 1];
  if (!next || endTokenLength(next.content, context) === 0) return tail;
  const replacedNext = replaced(replaced(messages, reply, REPLY), reply + 1, AFTER);
  const glue = between(renderChat(template, replacedNext, context), REPLY, AFTER);
  return glue !== null && tail.startsWith(glue) ? glue : tail;
}

function between(text: string, from: string, to: string | null): string | null {
  const start = text.lastIndexOf(from);
  if (start < 0) return null;
  const rest = text.slice(start + from.length);
  if (to === null) return rest;
  const end = rest.indexOf(to);
  return end < 0 ? null : rest.slice(0, end);
}

function replaced(messages: readonly Message[], index: number, content: string): Message[] {
  return messages.map((message, i) => (i === index ? { ...message, content } : message));
}

/** `<|im_end|>`, `</s>`, `<turn|>`, `[/INST]`: how special tokens are spelled where no tokenizer names them. */
export const END_MARK = /^(<[^<>\s]{1,40}>|\[\/?[A-Z_]{1,40}\])/;

/** Length of the end token that `tail`, the text after a reply, begins with; 0 where the template ends turns without one. */
function endTokenLength(tail: string, { eosToken, specialTokens = [] }: RenderContext): number {
  const rest = tail.trimStart();
  const blank = tail.length - rest.length;
  const known = [...specialTokens, eosToken].filter((token) => token !== '' && rest.startsWith(token));
  const longest = known.reduce((best, token) => Math.max(best, token.length), 0) || (END_MARK.exec(rest)?.[0].length ?? 0);
  return longest === 0 ? 0 : blank + longest;
}
