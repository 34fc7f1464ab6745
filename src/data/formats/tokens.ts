import { IGNORED } from '../../core/example';
import { cellValue, type Format, type Unusable } from './row';

const LARGEST_ID = 2 ** 31 - 1;

/**
 * Ready tokens: `{"input_ids": […], "labels": […]}` with -100 for tokens that are not learned (left out: all are),
 * `attention_mask` 0 for padding, and `segment_ids` where a row holds several examples.
 */
export const tokens: Format = {
  name: 'tokens',
  keys: 'input_ids',
  matches: (raw) => Array.isArray(cellValue(raw.input_ids)),
  read(raw) {
    const input_ids = cellValue(raw.input_ids);
    if (!isIntegers(input_ids, 0)) return not('input_ids', 'a list of token ids');
    const mask = cellValue(raw.attention_mask ?? null);
    const given = cellValue(raw.labels ?? null);
    const segment_ids = cellValue(raw.segment_ids ?? null);
    if (mask !== null && !(isIntegers(mask, 0) && mask.length === input_ids.length)) return not('attention_mask', 'as long as its input_ids');
    if (given !== null && !(isIntegers(given, IGNORED) && given.length === input_ids.length)) return not('labels', 'as long as its input_ids');
    if (segment_ids !== null && !(isIntegers(segment_ids, -LARGEST_ID) && segment_ids.length === input_ids.length)) {
      return not('segment_ids', 'as long as its input_ids');
    }
    const labels = (given ?? input_ids).map((label, t) => (label < 0 || mask?.[t] === 0 ? IGNORED : label));
    return { kind: 'tokens', input_ids, labels, segment_ids };
  },
};

function isIntegers(value: unknown, least: number): value is number[] {
  return Array.isArray(value) && (value as unknown[]).every((item) => Number.isInteger(item) && (item as number) >= least && (item as number) <= LARGEST_ID);
}

function not(key: string, expected: string): Unusable {
  return { one: `has "${key}" that are not ${expected}`, many: `have "${key}" that are not ${expected}` };
}
