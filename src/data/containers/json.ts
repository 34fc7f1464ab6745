import { DatasetError } from '../../core/errors';
import { isObject, type Container, type ContainerRow } from './container';
import { jsonErrorPosition } from './json-position';

/** A JSON object around the rows is parsed in one piece; longer ones belong into JSON Lines. */
const LONGEST_OBJECT = 2 ** 28;

/**
 * A JSON list of objects, parsed one object at a time; or an object that holds such a list (`{"data": […]}`), or is
 * the only row itself.
 */
export const json: Container = async function* (text) {
  const scanner = new ListScanner();
  let whole: string | null = null;
  for await (const chunk of text) {
    if (whole === null && scanner.kind(chunk) === 'object') whole = '';
    if (whole === null) {
      yield* scanner.push(chunk);
      continue;
    }
    whole += chunk;
    if (whole.length > LONGEST_OBJECT) {
      throw new DatasetError('The file is one JSON object of more than 256 million characters; save the rows as JSON Lines, one object a line.');
    }
  }
  if (whole === null) yield* scanner.end();
  else yield* readObject(whole);
};

function readObject(text: string): ContainerRow[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const { line, column } = jsonErrorPosition(text);
    throw new DatasetError(`The file is not valid JSON: the error is at line ${line}, column ${column}. Correct it there, or save one object a line.`);
  }
  const inner = isObject(value) ? Object.values(value).find((item) => Array.isArray(item) && item.length > 0 && item.every(isObject)) : undefined;
  const isRow = isObject(value) && ('messages' in value || 'conversations' in value);
  if (!inner || isRow) return isObject(value) ? [{ fields: value }] : [];
  return (inner as Record<string, unknown>[]).map((item) => ({ fields: isObject(item.row) ? item.row : item }));
}

const OPENING = /[[{]/;
/** Characters at which the scan has to stop: outside strings brackets, commas and quotes; inside them quotes and escapes. */
const OUTSIDE = /["[\]{},\n]/g;
const INSIDE = /["\\\n]/g;

/** Cuts a JSON list into its elements while it arrives, and parses each on its own. */
class ListScanner {
  private started = false;
  private ended = false;
  private depth = 0;
  private inString = false;
  /** Text not yet cut off: the element under way begins at 0. */
  private pending = '';
  /** How far `pending` has been looked through. */
  private scanned = 0;
  private line = 1;
  private elementLine = 1;

  /** Whether the file is a list or an object, by its first character other than white space; null while there is none. */
  kind(chunk: string): 'list' | 'object' | null {
    if (this.started) return 'list';
    const first = chunk.trimStart()[0];
    if (first === undefined) return null;
    return first === '{' ? 'object' : 'list';
  }

  *push(chunk: string): Generator<ContainerRow> {
    this.pending += chunk;
    if (!this.started) {
      const open = this.pending.search(OPENING);
      if (open < 0) return;
      this.line += this.pending.slice(0, open).split('\n').length - 1;
      this.pending = this.pending.slice(open + 1);
      this.started = true;
      this.elementLine = this.line;
    }
    while (!this.ended) {
      const pattern = this.inString ? INSIDE : OUTSIDE;
      pattern.lastIndex = this.scanned;
      const found = pattern.exec(this.pending);
      if (!found) {
        this.scanned = this.pending.length;
        return;
      }
      // An escape's second half may come with the next chunk.
      if (found[0] === '\\' && found.index + 1 >= this.pending.length) {
        this.scanned = found.index;
        return;
      }
      yield* this.step(found[0], found.index);
    }
  }

  private *step(character: string, at: number): Generator<ContainerRow> {
    this.scanned = at + (character === '\\' ? 2 : 1);
    if (character === '\n') this.line++;
    else if (character === '"') this.inString = !this.inString;
    else if (character === '[' || character === '{') this.depth++;
    else if (this.depth > 0 && (character === ']' || character === '}')) this.depth--;
    else if (this.depth === 0 && character !== '\\') {
      yield* this.element(this.pending.slice(0, at));
      this.ended = character !== ',';
      this.pending = this.pending.slice(at + 1);
      this.scanned = 0;
      this.elementLine = this.line;
    }
  }

  private *element(text: string): Generator<ContainerRow> {
    if (text.trim() === '') return;
    try {
      const value = JSON.parse(text) as unknown;
      yield isObject(value) ? { fields: value } : { broken: `the element at line ${this.elementLine} is not a JSON object` };
    } catch {
      const { line, column } = jsonErrorPosition(text);
      yield { broken: `line ${this.elementLine + line - 1} is not valid JSON at column ${column}` };
    }
  }

  *end(): Generator<ContainerRow> {
    if (this.started && !this.ended && this.pending.trim() !== '') yield { broken: `the file breaks off in the element at line ${this.elementLine}` };
  }
}
