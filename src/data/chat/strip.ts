/**
 * Python's `strip`, `lstrip` and `rstrip` and Jinja's `trim` for chat templates. The library's own ignore their argument, which loses
 * leading spaces of replies (SmolLM3's and Qwen 3's templates strip line feeds only), and strip JavaScript's white space.
 */

/** What Python's str.isspace holds for white space: U+001C–1F and U+0085 too, but not U+FEFF. */
const WHITE_SPACE = '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000';

const FUNCTIONS = {
  strip: (text: string, characters?: string) => stripStart(stripEnd(text, characters), characters),
  lstrip: stripStart,
  rstrip: stripEnd,
} as const;

/** The functions under the names that `useStripFunctions` calls them by. */
export const STRIP_FUNCTIONS: Record<string, (text: string, characters?: string) => string> = Object.fromEntries(
  Object.entries(FUNCTIONS).map(([name, apply]) => [
    functionName(name),
    (text: unknown, characters?: string) => {
      if (typeof text !== 'string') throw new Error('the template strips something that is not text');
      return apply(text, characters);
    },
  ]),
);

interface SyntaxNode {
  type: string;
  [key: string]: unknown;
}

/** Turns every `value.strip(…)` and `value | trim` of a parsed template into a call of the functions above, in place. */
export function useStripFunctions(node: unknown): void {
  if (Array.isArray(node)) {
    for (const item of node) useStripFunctions(item);
    return;
  }
  if (typeof node !== 'object' || node === null) return;
  for (const child of Object.values(node)) useStripFunctions(child);
  const syntax = node as SyntaxNode;
  const found = trimFilter(syntax) ?? stripMethod(syntax);
  if (!found) return;
  const { operand, name, args } = found;
  syntax.type = 'CallExpression';
  syntax.callee = { type: 'Identifier', value: functionName(name) };
  syntax.args = [operand, ...args];
}

interface Strip {
  operand: unknown;
  name: string;
  args: unknown[];
}

function trimFilter(node: SyntaxNode): Strip | null {
  const filter = node.filter as SyntaxNode | undefined;
  if (node.type !== 'FilterExpression' || filter?.type !== 'Identifier' || filter.value !== 'trim') return null;
  return { operand: node.operand, name: 'strip', args: [] };
}

function stripMethod(node: SyntaxNode): Strip | null {
  const callee = node.callee as SyntaxNode | undefined;
  if (node.type !== 'CallExpression' || callee?.type !== 'MemberExpression' || callee.computed === true) return null;
  const property = callee.property as SyntaxNode;
  const args = node.args as SyntaxNode[];
  const name = property.value as string;
  if (property.type !== 'Identifier' || !Object.hasOwn(FUNCTIONS, name) || args.length > 1) return null;
  return { operand: callee.object, name, args };
}

function functionName(method: string): string {
  return `python_${method}`;
}

function stripStart(text: string, characters = WHITE_SPACE): string {
  const points = Array.from(text);
  const kept = points.findIndex((point) => !characters.includes(point));
  return kept < 0 ? '' : points.slice(kept).join('');
}

function stripEnd(text: string, characters = WHITE_SPACE): string {
  const points = Array.from(text);
  const last = points.findLastIndex((point) => !characters.includes(point));
  return points.slice(0, last + 1).join('');
}
