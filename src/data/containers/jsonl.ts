import { isObject, lines, type Container, type ContainerRow } from './container';
import { jsonErrorPosition } from './json-position';

/** One JSON object a line; blank lines do not count as rows. */
export const jsonl: Container = async function* (text) {
  let number = 0;
  for await (const line of lines(text)) {
    number++;
    if (line.trim() !== '') yield readLine(line, number);
  }
};

function readLine(line: string, number: number): ContainerRow {
  try {
    const value = JSON.parse(line) as unknown;
    if (isObject(value)) return { fields: value };
    return { broken: `line ${number} is ${Array.isArray(value) ? 'a list' : 'a bare value'}, not a JSON object` };
  } catch {
    return { broken: `line ${number} is not valid JSON at column ${jsonErrorPosition(line).column}` };
  }
}
