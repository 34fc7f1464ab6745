import { hasKey, textOf, type Format } from './row';

/** `{"text": "…"}`: all of it is learned, and the end of it. */
export const text: Format = {
  name: 'text',
  keys: 'text',
  matches: (raw) => hasKey(raw, 'text'),
  read(raw) {
    const content = textOf(raw, 'text');
    if (content === null) return { one: 'has a "text" that is not text', many: 'have a "text" that is not text' };
    if (content.trim() === '') return { one: 'is empty', many: 'are empty' };
    return { kind: 'text', text: content };
  },
};
