import { readConversation } from './conversation';
import { cellValue, type Format } from './row';

/** OpenAI's form: `{"messages": [{"role": "user", "content": "…"}, …]}`. */
export const messages: Format = {
  name: 'messages',
  keys: 'messages',
  matches: (raw) => Array.isArray(cellValue(raw.messages)),
  read: (raw) => readConversation(cellValue(raw.messages), 'role', 'content'),
};
