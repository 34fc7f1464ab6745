/** Where a text stops being JSON: line and column, both from 1. Engines word this differently or not at all. */
export interface TextPosition {
  line: number;
  column: number;
}

const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
const SPACE = /[ \t\n\r]*/y;

/** The position of the first error in a text that is not JSON (its end, where it only breaks off). */
export function jsonErrorPosition(text: string): TextPosition {
  const before = text.slice(0, errorOffset(text)).split(/\r\n|\n|\r/);
  return { line: before.length, column: before.at(-1)!.length + 1 };
}

type Expecting = 'value' | 'value or ]' | 'key' | 'key or }' | 'colon' | 'comma';

/** A state machine over tokens, with a stack of open brackets instead of recursion: depth is the file's to choose. */
function errorOffset(text: string): number {
  const open: ('{' | '[')[] = [];
  let expecting: Expecting = 'value';
  let at = 0;
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at += found[0].length;
    return found !== null;
  };
  const takeString = (): boolean => {
    const end = stringEnd(text, at);
    if (end !== null) at = end;
    return end !== null;
  };
  for (;;) {
    take(SPACE);
    if (expecting === 'comma' && open.length === 0) return at;
    const character = text[at];
    const closes = character === '}' ? '{' : character === ']' ? '[' : null;
    if (closes) {
      const allowed = expecting === 'comma' || expecting === (closes === '{' ? 'key or }' : 'value or ]');
      if (!allowed || open.at(-1) !== closes) return at;
      open.pop();
      at++;
      expecting = 'comma';
    } else if (expecting === 'comma') {
      if (character !== ',') return at;
      at++;
      expecting = open.at(-1) === '{' ? 'key' : 'value';
    } else if (expecting === 'colon') {
      if (character !== ':') return at;
      at++;
      expecting = 'value';
    } else if (expecting === 'key' || expecting === 'key or }') {
      if (!takeString()) return at;
      expecting = 'colon';
    } else if (character === '{' || character === '[') {
      open.push(character);
      at++;
      expecting = character === '{' ? 'key or }' : 'value or ]';
    } else {
      if (!takeString() && !take(NUMBER) && !take(WORD)) return at;
      expecting = 'comma';
    }
  }
}

/** Where a string that begins at `start` ends, or null where it is none, or is broken. */
function stringEnd(text: string, start: number): number | null {
  if (text[start] !== '"') return null;
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '"') return at + 1;
    if (text[at]! < ' ') return null;
    if (text[at] !== '\\') continue;
    ESCAPE.lastIndex = at;
    const escape = ESCAPE.exec(text);
    if (!escape) return null;
    at += escape[0].length - 1;
  }
  return null;
}
