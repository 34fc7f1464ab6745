import { lines, type Container } from './container';

/** A paragraph longer than this is cut at a line's end: otherwise text without blank lines would be one endless row. */
const LONGEST_PARAGRAPH = 8000;

/** Plain text: paragraphs, parted by blank lines, as `text` rows. */
export const plain: Container = async function* (text) {
  let paragraph: string[] = [];
  let length = 0;
  const take = (): { fields: { text: string } } => {
    const fields = { text: paragraph.join('\n').trim() };
    paragraph = [];
    length = 0;
    return { fields };
  };
  for await (const line of lines(text)) {
    if (line.trim() === '' ? paragraph.length > 0 : length > 0 && length + line.length > LONGEST_PARAGRAPH) yield take();
    if (line.trim() === '') continue;
    for (let at = 0; at < line.length; at += LONGEST_PARAGRAPH) {
      if (at > 0) yield take();
      paragraph.push(line.slice(at, at + LONGEST_PARAGRAPH));
    }
    length += line.length + 1;
  }
  if (paragraph.length > 0) yield take();
};
