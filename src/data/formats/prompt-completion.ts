import { readConversation } from './conversation';
import { cellValue, EMPTY_REPLY, hasKey, lacks, textOf, type Format } from './row';

const PROMPT = ['prompt', 'question'];
const COMPLETION = ['completion', 'response', 'answer'];

/** `{"prompt": "…", "completion": "…"}`; as in TRL both may be lists of messages. Only the completion is learned. */
export const promptCompletion: Format = {
  name: 'prompt-completion',
  keys: 'prompt and completion',
  matches: (raw) => hasKey(raw, ...PROMPT) && hasKey(raw, ...COMPLETION),
  read(raw) {
    const turns = [cellValue(raw.prompt), cellValue(raw.completion)];
    if (turns.every((turn) => Array.isArray(turn))) return readConversation(turns.flat(), 'role', 'content');
    const prompt = textOf(raw, ...PROMPT);
    const completion = textOf(raw, ...COMPLETION);
    if (prompt === null) return lacks('a prompt');
    if (completion === null) return lacks('a completion');
    if (completion.trim() === '') return EMPTY_REPLY;
    return { kind: 'completion', system: textOf(raw, 'system') || null, prompt, completion };
  },
};
