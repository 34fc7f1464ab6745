/**
 * Python's `text.strip(characters)`, `lstrip` and `rstrip` for Jinja templates. The library's own ignore their argument,
 * which loses leading spaces of replies (SmolLM3's and Qwen 3's templates strip line feeds only).
 */

const FUNCTIONS = {
  strip: (text: string, characters: string) => stripStart(stripEnd(text, characters), characters),
  lstrip: stripStart,
  rstrip: stripEnd,
} as const;

/** The functions under the names that `useStripFunctions` calls them by. */
export const STRIP_FUNCTIONS: Record<string, (text: string, characters: string) => string> = Object.fromEntries(
  Object.entries(FUNCTIONS).map(([name, apply]) => [functionName(name), apply]),
);

interface SyntaxNode {
  type: string;
  [key: string]: unknown;
}

/** Turns every `value.strip(characters)` of a parsed template into a call of the function above, in place. */
export function useStripFunctions(node: unknown): void {
  if (Array.isArray(node)) {
    for (const item of node) useStripFunctions(item);
    return;
  }
  if (typeof node !== 'object' || node === null) return;
  for (const child of Object.values(node)) useStripFunctions(child);
  const call = node as SyntaxNode;
  const callee = call.callee as SyntaxNode | undefined;
  const args = call.args as SyntaxNode[] | undefined;
  if (call.type !== 'CallExpression' || callee?.type !== 'MemberExpression' || callee.computed || args?.length !== 1) return;
  const property = callee.property as SyntaxNode;
  if (property.type !== 'Identifier' || !Object.hasOwn(FUNCTIONS, property.value as string)) return;
  call.args = [callee.object, args[0]];
  call.callee = { type: 'Identifier', value: functionName(property.value as string) };
}

function functionName(method: string): string {
  return `python_${method}`;
}

function stripStart(text: string, characters: string): string {
  const points = Array.from(text);
  const kept = points.findIndex((point) => !characters.includes(point));
  return kept < 0 ? '' : points.slice(kept).join('');
}

function stripEnd(text: string, characters: string): string {
  const points = Array.from(text);
  const last = points.findLastIndex((point) => !characters.includes(point));
  return points.slice(0, last + 1).join('');
}
