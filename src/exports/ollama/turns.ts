import { TemplateError } from '../../core/errors';
import { renderChat, type Message, type RenderContext } from '../../data/chat/render';

type Role = 'system' | 'user' | 'assistant';

/** The white space that a template strips from either end of a message. */
export interface Stripped {
  left: string;
  right: string;
}

/** What a chat template writes around messages that take turns, the user first and last, with a system message before them or none. */
export interface Turns {
  /** Before the first user's message where there is no system message (a default one may stand here). */
  head: string;
  /**
   * `head` and `glue` stand before and after a system message; it precedes the first user's message or (Mistral-Nemo) the last
   * user's. Null: the template leaves system messages out. `refused`: it raises; the message is put before the first user's.
   */
  system: { head: string; glue: string; before: 'first' | 'last'; refused: boolean } | null;
  /** `head` and `system` where the assistant speaks first; null where the template has no such conversations. */
  greeting: { head: string; system: { head: string; glue: string } | null } | null;
  /** Between a user's message and the reply, and between a reply and the next user's message. */
  toAssistant: string;
  toUser: string;
  /** After the last user's message: what asks for a reply. */
  ask: string;
  /** `told`: the user's message that the system message stands before. */
  stripped: Record<Role | 'told', Stripped>;
  /** Replies lose everything up to their last `</think>`, and this white space after it; null: they keep it. */
  thinking: string | null;
}

export const THINK_END = '</think>';

/** White space that is looked for at the ends of messages, ASCII's. */
const SPACES = [' ', '\n', '\t', '\r', '\v', '\f'];

/** Stand-ins for messages, private-use characters that no template rewrites. */
const standIn = (name: string): string => `\uE0F0${name}\uE0F1`;
const SYSTEM = standIn('system');
const user = (turn: number): string => standIn(`user ${turn}`);
const reply = (turn: number): string => standIn(`reply ${turn}`);

/** The template with what its variables are, to be rendered with any messages up to the next reply. */
type Render = (messages: readonly Message[]) => string | null;

/**
 * Finds what a chat template writes around messages by rendering stand-ins with it. Null where that does not give back what the template
 * itself renders for ordinary conversations.
 */
export function findTurns(template: string, context: RenderContext): Turns | null {
  const render: Render = (messages) => {
    try {
      return renderChat(template, messages, { ...context, addGenerationPrompt: true });
    } catch (error) {
      if (error instanceof TemplateError) return null;
      throw error;
    }
  };
  const plain = plainTurns(render);
  if (!plain) return null;
  const system = systemTurn(render, plain);
  if (system === undefined) return null;
  const turns: Turns = { ...plain, system, greeting: null, stripped: strippedOf(render, system), thinking: thinkingOf(render) };
  if (!TRIALS.every((trial) => agrees(render, turns, trial))) return null;
  const greeted = { ...turns, greeting: greetingOf(render, plain, system) };
  return GREETING_TRIALS.every((trial) => agrees(render, greeted, trial)) ? greeted : turns;
}

/** A conversation of so many replies and a last question, of stand-ins. */
function conversation(replies: number): Message[] {
  const turns = Array.from({ length: replies }, (_, i) => [
    { role: 'user', content: user(i) },
    { role: 'assistant', content: reply(i) },
  ]);
  return [...turns.flat(), { role: 'user', content: user(replies) }];
}

/** What stands before, between and after the parts, in their order; null where the text has them otherwise. */
function between(text: string | null, parts: readonly string[]): string[] | null {
  if (text === null) return null;
  const pieces: string[] = [];
  let at = 0;
  for (const part of parts) {
    const found = text.indexOf(part, at);
    if (found < 0 || text.indexOf(part, found + 1) >= 0) return null;
    pieces.push(text.slice(at, found));
    at = found + part.length;
  }
  return [...pieces, text.slice(at)];
}

type PlainTurns = Pick<Turns, 'head' | 'toAssistant' | 'toUser' | 'ask'>;

/** The pieces around turns without a system message: the same in conversations of every length. */
function plainTurns(render: Render): PlainTurns | null {
  const pieces = [0, 1, 2].map((replies) => {
    const messages = conversation(replies);
    return between(render(messages), messages.map(({ content }) => content));
  });
  const [short, middle, long] = pieces;
  if (!short || !middle || !long) return null;
  const found = { head: short[0]!, toAssistant: middle[1]!, toUser: middle[2]!, ask: short[1]! };
  const { head, toAssistant, toUser, ask } = found;
  const expected = [[head, ask], [head, toAssistant, toUser, ask], [head, toAssistant, toUser, toAssistant, toUser, ask]];
  return JSON.stringify(pieces) === JSON.stringify(expected) ? found : null;
}

/** How a system message enters; undefined where it changes more than that. */
function systemTurn(render: Render, plain: PlainTurns): Turns['system'] | undefined {
  const messages = conversation(1);
  const [question, answer, next] = messages.map(({ content }) => content) as [string, string, string];
  const text = render([{ role: 'system', content: SYSTEM }, ...messages]);
  if (text === null) return { head: plain.head, glue: '\n\n', before: 'first', refused: true };
  if (text === render(messages)) return null;
  const first = between(text, [SYSTEM, question, answer, next]);
  if (first) {
    const [head, glue, ...rest] = first as [string, string, ...string[]];
    return rest.join('\0') === [plain.toAssistant, plain.toUser, plain.ask].join('\0') ? { head, glue, before: 'first', refused: false } : undefined;
  }
  const last = between(text, [question, answer, SYSTEM, next]);
  if (!last) return undefined;
  const [head, toAssistant, toUser, glue, ask] = last as [string, string, string, string, string];
  const same = toAssistant === plain.toAssistant && toUser === plain.toUser && ask === plain.ask;
  return same ? { head, glue, before: 'last', refused: false } : undefined;
}

/** What stands before a reply that nobody asked for. */
function greetingOf(render: Render, { toUser, ask }: PlainTurns, system: Turns['system']): Turns['greeting'] {
  const [, answer, next] = conversation(1) as [Message, Message, Message];
  const pieces = between(render([answer, next]), [answer.content, next.content]);
  if (pieces?.[1] !== toUser || pieces[2] !== ask || system?.before === 'last') return null;
  const head = pieces[0]!;
  if (!system || system.refused) return { head, system: null };
  const text = render([{ role: 'system', content: SYSTEM }, answer, next]);
  if (text === render([answer, next])) return { head, system: null };
  const told = between(text, [SYSTEM, answer.content, next.content]);
  if (told?.[2] !== toUser || told[3] !== ask) return null;
  return { head, system: { head: told[0]!, glue: told[1]! } };
}

/** The white space that each role's messages lose at their ends. */
function strippedOf(render: Render, system: Turns['system']): Turns['stripped'] {
  const [question, answer, next] = conversation(1) as [Message, Message, Message];
  const probe = (messages: (left: string, right: string) => Message[]): Stripped => {
    const bare = render(messages('', ''));
    const lost = (left: boolean): string => SPACES.filter((space) => render(messages(left ? space : '', left ? '' : space)) === bare).join('');
    return { left: lost(true), right: lost(false) };
  };
  const padded = (message: Message, left: string, right: string): Message => ({ ...message, content: left + message.content + right });
  const user = probe((left, right) => [padded(question, left, right)]);
  const assistant = probe((left, right) => [question, padded(answer, left, right), next]);
  if (!system || system.refused) return { user, assistant, system: { left: '', right: '' }, told: user };
  const message = { role: 'system', content: SYSTEM };
  return {
    user,
    assistant,
    system: probe((left, right) => [padded(message, left, right), question]),
    told: probe((left, right) => [message, padded(question, left, right)]),
  };
}

/** The white space that replies lose after their thinking, null where they keep both. */
function thinkingOf(render: Render): string | null {
  const [question, answer, next] = conversation(1) as [Message, Message, Message];
  const thought = (after: string): string | null =>
    render([question, { ...answer, content: `<think>\nwhy\n${THINK_END}${after}${answer.content}` }, next]);
  const bare = render([question, answer, next]);
  return thought('') === bare ? SPACES.filter((space) => thought(space) === bare).join('') : null;
}

/** What Ollama is made to write for a conversation: a system message or none, then turns. The Go template says the same. */
export function renderTurns(turns: Turns, messages: readonly Message[]): string {
  const { head, system, greeting, toAssistant, toUser, ask } = turns;
  const told = messages[0]?.role === 'system' ? turnText(turns, messages[0], 'system') : null;
  const said = messages.filter(({ role }) => role !== 'system');
  const greets = said[0]?.role === 'assistant' ? greeting : null;
  const before = greets ? (greets.system && { ...greets.system, before: 'first' }) : system;
  let text = told !== null && before ? before.head : (greets?.head ?? head);
  said.forEach((message, i) => {
    const last = i === said.length - 1;
    const asks = message.role === 'user';
    if (asks && i > 0) text += toUser;
    const follows = told !== null && before !== null && (before.before === 'first' ? i === 0 : asks && last);
    if (follows) text += told + before.glue;
    if (asks) text += turnText(turns, message, follows ? 'told' : 'user') + (last ? ask : toAssistant);
    else text += turnText(turns, message, 'assistant');
  });
  return text;
}

function turnText({ stripped, thinking }: Turns, { content }: Message, kind: Role | 'told'): string {
  let text = content;
  if (kind === 'assistant' && thinking !== null && text.includes(THINK_END)) {
    text = stripText(text.slice(text.lastIndexOf(THINK_END) + THINK_END.length), { left: thinking, right: '' });
  }
  return stripText(text, stripped[kind]);
}

function stripText(text: string, { left, right }: Stripped): string {
  let [start, end] = [0, text.length];
  while (start < end && left.includes(text[start]!)) start++;
  while (end > start && right.includes(text[end - 1]!)) end--;
  return text.slice(start, end);
}

const QUESTIONS = ['Hi', '  What is "2 + 2"?\n\n```js\n1 < 2 && {{ x }}\n```\n', '\nnaïve 日本 🙂 {% if %} \\n\t'];
const REPLIES = ['Hello!', '\n\n  Four.\n ', `<think>\nwell\n${THINK_END}\n\nYes.`];

/** Ordinary conversations, by which what was found is checked. */
const TRIALS: readonly Message[][] = [[], ['Be kind.'], ['  Be\n\nbrief. \n']].flatMap((systems) =>
  [0, 1, 2].flatMap((replies) =>
    [0, 1, 2].map((shift) => [
      ...systems.map((content) => ({ role: 'system', content })),
      ...conversation(replies).map(({ role }, i) => ({ role, content: (role === 'user' ? QUESTIONS : REPLIES)[((i >> 1) + shift) % 3]! })),
    ]),
  ),
);

/** The same begun by the reply. */
const GREETING_TRIALS = TRIALS.map((trial) => trial.filter(({ role }, i) => role !== 'user' || i > 1)).filter((trial) => trial.some(({ role }) => role === 'assistant'));

function agrees(render: Render, turns: Turns, trial: readonly Message[]): boolean {
  if (trial[0]?.role === 'system' && turns.system?.refused) return true;
  return render(trial) === renderTurns(turns, trial);
}
