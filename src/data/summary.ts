import { IGNORED } from '../core/example';
import type { ChosenTemplate } from './chat/templates';
import type { Dataset, DatasetFormat, DatasetProblem } from './dataset';
import { cutExample, tokenizeRow, type TokenizedDataset, type TokenizeOptions } from './tokenize';
import type { Tokenizer } from './tokenizer/tokenizer';

/** The figures of workers/api.ts's DatasetSummary that follow from the rows. */
export interface DatasetFigures {
  format: DatasetFormat;
  rows: number;
  usable: number;
  tokens: { total: number; trained: number; median: number; p95: number; max: number };
  histogram: { edges: number[]; counts: number[] };
  tooLong: number;
  problems: DatasetProblem[];
  firstRow: number;
}

/** Token statistics of a tokenised data set, before cutting. */
export function summarize(dataset: Dataset, tokenized: TokenizedDataset, maxLength: number): DatasetFigures {
  const sizes = tokenized.lengths.map((item) => item.tokens).sort((a, b) => a - b);
  return {
    format: dataset.format,
    rows: dataset.rowCount,
    usable: tokenized.examples.length,
    tokens: {
      total: sum(sizes),
      trained: sum(tokenized.lengths.map((item) => item.trained)),
      median: quantile(sizes, 0.5),
      p95: quantile(sizes, 0.95),
      max: sizes.at(-1) ?? 0,
    },
    histogram: histogram(sizes),
    tooLong: sizes.filter((size) => size > maxLength).length,
    problems: [...dataset.problems, ...tokenized.problems],
    firstRow: tokenized.examples[0]?.row ?? 0,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** The smallest value that at least the share `q` of the sorted values does not exceed. */
function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * q) - 1)] ?? 0;
}

const MOST_BINS = 24;

/** Counts in bins of one round width: `counts[i]` sizes lie in [edges[i], edges[i + 1]). */
export function histogram(sizes: readonly number[]): { edges: number[]; counts: number[] } {
  const largest = sizes.reduce((most, size) => Math.max(most, size), 0);
  const width = roundUp((largest + 1) / MOST_BINS);
  const bins = Math.max(1, Math.ceil((largest + 1) / width));
  const counts = new Array<number>(bins).fill(0);
  for (const size of sizes) counts[Math.floor(size / width)]!++;
  return { edges: Array.from({ length: bins + 1 }, (_, i) => i * width), counts };
}

/** The next of 1, 2, 5, 10, 20, 50 … */
function roundUp(value: number): number {
  const scale = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 5, 10].map((step) => step * scale).find((step) => step >= value)!;
}

/** A row as it will be learned, token by token; the same shape as workers/api.ts's RowPreview. */
export interface RowPreview {
  row: number;
  tokens: { id: number; text: string; trained: boolean; special: boolean }[];
  trained: number;
  cut: boolean;
}

/**
 * A usable row in pieces, one a token, cut at `max_length`. `trained` marks the tokens whose prediction counts (so never a
 * row's first token). Where several tokens make up one character, its text stands with the last of them.
 */
export function previewRow(
  dataset: Dataset,
  row: number,
  tokenizer: Tokenizer | null,
  template: ChosenTemplate,
  options: TokenizeOptions,
): RowPreview | null {
  const found = dataset.rows.find((item) => item.row === row);
  if (!found) return null;
  const whole = tokenizeRow(found, tokenizer, template, options);
  const example = cutExample(whole, options.max_length);
  const decoder = tokenizer?.decoder();
  const tokens = Array.from(example.input_ids, (id, t) => ({
    id,
    text: decoder ? decoder.push(id) : String(id),
    trained: t > 0 && example.labels[t] !== IGNORED && (!example.segment_ids || example.segment_ids[t] === example.segment_ids[t - 1]),
    special: tokenizer?.isSpecial(id) ?? false,
  }));
  return { row, tokens, trained: tokens.filter((token) => token.trained).length, cut: whole.input_ids.length > options.max_length };
}
