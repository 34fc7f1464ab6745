import { readConversation } from './conversation';
import { cellValue, type Format, type RawRow } from './row';

/** ShareGPT's form: `{"conversations": [{"from": "human", "value": "…"}, …]}`; some sets keep role and content under the same key. */
export const sharegpt: Format = {
  name: 'sharegpt',
  keys: 'conversations',
  matches: (raw) => Array.isArray(turnsOf(raw)),
  read(raw) {
    const turns = turnsOf(raw);
    const first: unknown = Array.isArray(turns) ? turns[0] : undefined;
    const openAi = typeof first === 'object' && first !== null && 'role' in first;
    const result = openAi ? readConversation(turns, 'role', 'content') : readConversation(turns, 'from', 'value');
    if ('one' in result || result.kind !== 'chat' || typeof raw.system !== 'string' || raw.system === '') return result;
    return { kind: 'chat', messages: [{ role: 'system', content: raw.system }, ...result.messages] };
  },
};

function turnsOf(raw: RawRow): unknown {
  return cellValue(raw.conversations ?? raw.conversation);
}
