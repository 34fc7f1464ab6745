import type { TokenOffsets } from './encoder';

/** A stretch of text in UTF-16 units, end exclusive. */
interface Stretch {
  start: number;
  end: number;
}

/**
 * Takes the special tokens back that touch a stretch of `plain`: whatever lies between the special tokens around them is encoded
 * again by `encodePlain`, which parses none. `continues` tells it that the text does not begin there.
 */
export function withPlainText(
  text: string,
  full: TokenOffsets,
  plain: readonly Stretch[],
  isSpecial: (id: number) => boolean,
  encodePlain: (text: string, continues: boolean) => TokenOffsets,
): TokenOffsets {
  const { ids, starts, ends } = full;
  const spelled = ids.map((id, i) => isSpecial(id) && plain.some(({ start, end }) => start < ends[i]! && end > starts[i]!));
  const genuine = (i: number): boolean => isSpecial(ids[i]!) && !spelled[i];
  const result: TokenOffsets = { ids: [], starts: [], ends: [] };
  const copy = (from: number, to: number, source: TokenOffsets, shift = 0): void => {
    for (let i = from; i < to; i++) {
      result.ids.push(source.ids[i]!);
      result.starts.push(source.starts[i]! + shift);
      result.ends.push(source.ends[i]! + shift);
    }
  };
  for (let from = 0; from < ids.length; ) {
    let to = from;
    while (to < ids.length && !genuine(to)) to++;
    if (spelled.slice(from, to).includes(true)) {
      const start = starts[from]!;
      // White space that a special token swallowed is text again.
      const end = spelled[to - 1] ? (starts[to] ?? text.length) : ends[to - 1]!;
      const stretch = encodePlain(text.slice(start, end), from > 0);
      copy(0, stretch.ids.length, stretch, start);
    } else {
      copy(from, to, full);
    }
    if (to < ids.length) copy(to, to + 1, full);
    from = to + 1;
  }
  return result;
}
