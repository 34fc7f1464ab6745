import { DatasetError } from '../core/errors';
import { readDataset, type Dataset, type DatasetFormat, type DatasetProblem } from '../data/dataset';
import { previewRow, summarize } from '../data/summary';
import { tokenizeDataset, type TokenizeOptions } from '../data/tokenize';
import { languageOf } from '../training/prepare';
import { readArguments, UsageError, wholeNumber } from './arguments';
import { openModelPath, withFile } from './files';

const FORMATS: readonly DatasetFormat[] = ['messages', 'sharegpt', 'prompt-completion', 'alpaca', 'text', 'tokens'];
const TRAIN_ON = ['replies', 'last', 'all'] as const;

/** `hone data`: the checks of the studio, with `--model` in tokens. */
export async function data(args: string[]): Promise<void> {
  const { values, positionals } = readArguments(
    args,
    { model: { type: 'string' }, format: { type: 'string' }, 'train-on': { type: 'string' }, 'max-length': { type: 'string' }, row: { type: 'string' } },
    { least: 1, most: 1, names: 'FILE' },
  );
  await describeDataset(positionals[0]!, values);
}

interface Choices {
  model?: string | undefined;
  format?: string | undefined;
  'train-on'?: string | undefined;
  'max-length'?: string | undefined;
  row?: string | undefined;
}

/** Prints what a data set is, and what is wrong with it. Throws a DatasetError where nothing can be learned from it. */
export async function describeDataset(path: string, choices: Choices): Promise<void> {
  const format = choice(choices.format, 'format', FORMATS);
  const dataset = await withFile(path, (source) => readDataset(source, format && { format }));
  console.log(`${dataset.name}: ${dataset.format}, ${dataset.rowCount} rows, ${dataset.rows.length} of them can be used`);
  if (choices.model === undefined) {
    if (dataset.problems.length === 0) console.log('No problems found.');
    return showProblems(dataset.problems);
  }
  await inTokens(dataset, choices.model, choices);
}

async function inTokens(dataset: Dataset, modelPath: string, choices: Choices): Promise<void> {
  const model = await openModelPath(modelPath);
  const { tokenizer, template } = languageOf(model);
  const longest = model.config.max_position_embeddings;
  const options: TokenizeOptions = {
    max_length: wholeNumber(choices['max-length'], 'max-length', Math.min(1024, longest), 2),
    train_on: choice(choices['train-on'], 'train-on', TRAIN_ON) ?? 'replies',
    vocab_size: model.config.vocab_size,
  };
  const tokenized = await tokenizeDataset(dataset, tokenizer, template, options);
  const { tokens, tooLong, histogram, problems } = summarize(dataset, tokenized, options.max_length);
  console.log(`${tokens.total} tokens, ${tokens.trained} of them trained on (${template.name === 'model' ? "the model's template" : `template ${template.name}`})`);
  console.log(`A row has ${tokens.median} tokens (median), 95 % have ${tokens.p95} or fewer, the longest ${tokens.max}; ${tooLong} are longer than ${options.max_length}`);
  const most = Math.max(...histogram.counts);
  histogram.counts.forEach((count, i) => {
    if (count > 0) console.log(`${String(histogram.edges[i]).padStart(7)}  ${'█'.repeat(Math.ceil((count / most) * 40))} ${count}`);
  });
  if (problems.length === 0) console.log('No problems found.');
  showProblems(problems);
  if (choices.row === undefined) return;
  const row = wholeNumber(choices.row, 'row', 1, 1);
  const preview = previewRow(dataset, row, tokenizer, template, options);
  if (!preview) throw new DatasetError(`row ${row} of ${dataset.name} is not among its usable rows; choose another.`);
  console.log(`Row ${row}, what is trained on in [brackets]${preview.cut ? ', cut' : ''}:`);
  console.log(preview.tokens.map(({ text, trained }) => (trained ? `[${text}]` : text)).join(''));
}

/** A line a problem, with the first rows that have it. */
export function showProblems(problems: readonly DatasetProblem[]): void {
  for (const { severity, message, rows, count } of problems) {
    console.log(`${severity}: ${message} (row ${rows.slice(0, 10).join(', ')}${count > 10 ? ', …' : ''})`);
  }
}

function choice<T extends string>(value: string | undefined, option: string, known: readonly T[]): T | undefined {
  if (value === undefined || (known as readonly string[]).includes(value)) return value as T | undefined;
  throw new UsageError(`--${option} is "${value}"; choose one of ${known.join(', ')}.`);
}
