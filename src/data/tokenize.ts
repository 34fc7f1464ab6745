import { DatasetError, TemplateError, TokenizerError } from '../core/errors';
import { IGNORED, trainedTokens, type Example } from '../core/example';
import type { OnProgress } from '../core/progress';
import { spelledControls, turnMarks, type SpelledControls } from './chat/control-text';
import { renderChat, type Message, type RenderContext } from './chat/render';
import { trainedSpans, type MarkedRendering, type Span, type TrainOn } from './chat/spans';
import type { ChosenTemplate } from './chat/templates';
import type { Dataset, Row } from './dataset';
import { ProblemLog, rowsThat, type DatasetProblem } from './problems';
import type { Tokenizer } from './tokenizer/tokenizer';

export interface TokenizeOptions {
  /** Longest row in tokens; longer rows keep their head. */
  max_length: number;
  train_on: TrainOn;
  /** Rows of the model's embedding, to refuse ready tokens that it does not have; left out: the tokenizer's size. */
  vocab_size?: number;
  onProgress?: OnProgress;
}

export interface TokenizedDataset {
  /** Rows with something to learn (of ready tokens: all), cut to `max_length`, in file order. */
  examples: Example[];
  /** Per example: its tokens and trained tokens before cutting. */
  lengths: { row: number; tokens: number; trained: number }[];
  problems: DatasetProblem[];
}

/** Rows between two turns of the event loop, so that a worker can answer and a progress bar can move. */
const ROWS_A_TURN = 256;

/**
 * Turns rows into token ids and labels: chats rendered with the template, loss where `train_on` says, one BOS at most.
 * A row with nothing left to learn is reported and, unless its tokens came ready, dropped; a DatasetError where that leaves none.
 */
export async function tokenizeDataset(
  dataset: Pick<Dataset, 'name' | 'rows'>,
  tokenizer: Tokenizer | null,
  template: ChosenTemplate,
  options: TokenizeOptions,
): Promise<TokenizedDataset> {
  const problems = new ProblemLog();
  const result: TokenizedDataset = { examples: [], lengths: [], problems: [] };
  const total = dataset.rows.length;
  for (let i = 0; i < total; i++) {
    const row = dataset.rows[i]!;
    const example = tryTokenize(row, tokenizer, template, options, problems);
    if (example) keep(result, row.kind, example, options.max_length, problems);
    if ((i + 1) % ROWS_A_TURN === 0 || i + 1 === total) {
      options.onProgress?.({ label: 'Reading the rows', done: i + 1, total, unit: 'rows' });
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
  result.problems = problems.list();
  if (!result.examples.some((example) => trainedTokens(example) > 0)) {
    throw new DatasetError(`${dataset.name} has nothing to learn from: ${result.problems[0]?.message ?? 'it has no rows'}. Correct the rows, or change what is learned.`);
  }
  return result;
}

function tryTokenize(row: Row, tokenizer: Tokenizer | null, template: ChosenTemplate, options: TokenizeOptions, problems: ProblemLog): Example | null {
  try {
    const { example, controls } = readRow(row, tokenizer, template, options);
    noteControls(row.row, controls, problems);
    return example;
  } catch (error) {
    if (!(error instanceof TemplateError || error instanceof DatasetError || error instanceof TokenizerError)) throw error;
    const reason = error.message;
    problems.add('block', row.row, (count) => `${count === 1 ? '1 row' : `${count} rows`} cannot be used: ${reason}`);
    return null;
  }
}

/** Names that a row spells are told one by one; a row of thousands must not flood the list. */
const MOST_NAMED = 8;

/** Names the control tokens that a row spells, and how they are read. */
function noteControls(row: number, { tokens, read, marks, running }: RowControls, problems: ProblemLog): void {
  const named = (severity: 'warn' | 'note', all: readonly string[], how: string): void => {
    for (const token of all.slice(0, MOST_NAMED)) problems.add(severity, row, rowsThat(`spells ${token} ${how}`, `spell ${token} ${how}`));
  };
  named('warn', tokens, 'in a message, a control token, which is read as plain text there');
  named('warn', read, 'in a message, a control token, which the chat template takes for its own');
  named('warn', marks, 'in a message, and nothing tells it from the mark that the chat template writes');
  named('note', running, 'in running text, a control token, which is read as one');
}

/** A row of ready tokens keeps its place in its batch even where nothing of it is trained on: such data are taken as they are. */
function keep(result: TokenizedDataset, kind: Row['kind'], whole: Example, maxLength: number, problems: ProblemLog): void {
  const before = trainedTokens(whole);
  const example = cutExample(whole, maxLength);
  if (whole.input_ids.length > maxLength) {
    problems.add('warn', whole.row, rowsThat(`is longer than ${maxLength} tokens and will be cut`, `are longer than ${maxLength} tokens and will be cut`));
  }
  if (trainedTokens(example) === 0) {
    const why = before === 0 ? 'nothing to learn from' : `nothing to learn from within ${maxLength} tokens`;
    problems.add(kind === 'tokens' ? 'warn' : 'block', whole.row, rowsThat(`has ${why}`, `have ${why}`));
    if (kind !== 'tokens') return;
  }
  result.examples.push(example);
  result.lengths.push({ row: whole.row, tokens: whole.input_ids.length, trained: before });
}

/** The first `maxLength` tokens of an example. */
export function cutExample(example: Example, maxLength: number): Example {
  if (example.input_ids.length <= maxLength) return example;
  const { row, input_ids, labels, segment_ids } = example;
  return {
    row,
    input_ids: input_ids.slice(0, maxLength),
    labels: labels.slice(0, maxLength),
    ...(segment_ids ? { segment_ids: segment_ids.slice(0, maxLength) } : {}),
  };
}

interface RowControls extends SpelledControls {
  /** Marks of the template that are no control tokens, spelled in messages. */
  marks: string[];
  /** Control tokens in text that is no message, and may well have its own (a chat that was rendered before). */
  running: string[];
}

const NO_CONTROLS: RowControls = { plain: [], tokens: [], read: [], marks: [], running: [] };
type Reading = Pick<TokenizeOptions, 'train_on' | 'vocab_size'>;

/** One row as token ids and labels, uncut. Throws a TemplateError, TokenizerError or DatasetError where the row cannot be used. */
export function tokenizeRow(row: Row, tokenizer: Tokenizer | null, template: ChosenTemplate, options: Reading): Example {
  return readRow(row, tokenizer, template, options).example;
}

function readRow(row: Row, tokenizer: Tokenizer | null, template: ChosenTemplate, options: Reading): { example: Example; controls: RowControls } {
  if (row.kind === 'tokens') {
    return { example: readyTokens(row, options.vocab_size ?? tokenizer?.vocabSize ?? Infinity), controls: NO_CONTROLS };
  }
  if (!tokenizer) throw new DatasetError('The model has no tokenizer, so only rows of input_ids can be used; open a model with its tokenizer.json');
  const { text, spans } = rendering(row, tokenizer, template, options.train_on);
  const controls = rowControls(row, tokenizer, template, text);
  const { ids, starts, ends } = tokenizer.encodeWithOffsets(text, { plain: controls.plain });
  const trained = ids.map((_, i) => spans.some((span) => isTrained(text, starts[i]!, ends[i]!, span)));
  const addBos = tokenizer.addsBos && ids[0] !== tokenizer.bosId;
  const addEos = endsText(row, template) && tokenizer.eosId !== null && ids.at(-1) !== tokenizer.eosId;
  const input_ids = [...(addBos ? [tokenizer.bosId!] : []), ...ids, ...(addEos ? [tokenizer.eosId!] : [])];
  const mask = [...(addBos ? [false] : []), ...trained, ...(addEos ? [true] : [])];
  const labels = Int32Array.from(input_ids, (id, i) => (mask[i] ? id : IGNORED));
  return { example: { row: row.row, input_ids: Int32Array.from(input_ids), labels }, controls };
}

function rowControls(row: Row, tokenizer: Tokenizer, template: ChosenTemplate, text: string): RowControls {
  let messages: Message[];
  if (row.kind === 'chat') messages = row.messages;
  else if (row.kind === 'completion' && !rawCompletion(row, template)) messages = completionMessages(row);
  else return { ...NO_CONTROLS, running: [...new Set(tokenizer.spelledSpecial(text).map(({ token }) => token))] };
  const marks = marksOf(template.template, tokenizer).filter((mark) => messages.some(({ content }) => content.includes(mark)));
  return { ...messageControls(messages, text, tokenizer, template), marks, running: [] };
}

const knownMarks = new WeakMap<Tokenizer, { template: string; marks: string[] }>();

/** The template's marks that the tokenizer has no control tokens for. */
function marksOf(template: string, tokenizer: Tokenizer): string[] {
  let known = knownMarks.get(tokenizer);
  if (known?.template !== template) {
    const marks = turnMarks(template, templateContext(tokenizer));
    known = { template, marks: marks.filter((mark) => tokenizer.spelledSpecial(mark).length === 0) };
    knownMarks.set(tokenizer, known);
  }
  return known.marks;
}

/** The control tokens that messages spell, and where they stand in the conversation's rendering `text`. */
export function messageControls(
  messages: readonly Message[],
  text: string,
  tokenizer: Tokenizer,
  { template }: ChosenTemplate,
  addGenerationPrompt = false,
): SpelledControls {
  const render = (changed: readonly Message[]): string => renderChat(template, changed, { ...templateContext(tokenizer), addGenerationPrompt });
  return spelledControls(messages, text, (content) => tokenizer.spelledSpecial(content), render);
}

/**
 * A token is trained on where it begins inside the span, or reaches into it from spaces before it (`▁Hello` after a header
 * that ends in a space). A line feed before the span is the header's: the model is given it.
 */
function isTrained(text: string, start: number, end: number, span: Span): boolean {
  if (start >= span.start && start < span.end) return true;
  return start < span.start && end > span.start && /^ *$/.test(text.slice(start, span.start));
}

/** The row's text and what of it is learned. */
function rendering(row: Row, tokenizer: Tokenizer, template: ChosenTemplate, trainOn: TrainOn): MarkedRendering {
  const context = templateContext(tokenizer);
  switch (row.kind) {
    case 'chat':
      return trainedSpans(template.template, row.messages, context, trainOn);
    case 'completion': {
      if (!rawCompletion(row, template)) return trainedSpans(template.template, completionMessages(row), context, trainOn === 'all' ? 'all' : 'last');
      const text = row.prompt + row.completion;
      return { text, spans: [{ start: trainOn === 'all' ? 0 : row.prompt.length, end: text.length }] };
    }
    case 'text':
      return { text: row.text, spans: [{ start: 0, end: row.text.length }] };
    case 'tokens':
      throw new TypeError('rows of tokens have no rendering');
  }
}

/** What a tokenizer gives to its template. */
export function templateContext(tokenizer: Tokenizer): RenderContext {
  return { bosToken: tokenizer.bosToken, eosToken: tokenizer.eosToken, specialTokens: tokenizer.specialTokens };
}

/** A prompt and its completion as the turns of a chat. */
export function completionMessages(row: { system: string | null; prompt: string; completion: string }): Message[] {
  return [
    ...(row.system ? [{ role: 'system', content: row.system }] : []),
    { role: 'user', content: row.prompt },
    { role: 'assistant', content: row.completion },
  ];
}

/** A model without chat marks continues a prompt as it stands. */
function rawCompletion(row: Row, template: ChosenTemplate): boolean {
  return row.kind === 'completion' && row.system === null && template.name === 'plain';
}

function endsText(row: Row, template: ChosenTemplate): boolean {
  return row.kind === 'text' || rawCompletion(row, template);
}

function readyTokens(row: Row & { kind: 'tokens' }, vocabulary: number): Example {
  const wild = row.input_ids.find((id) => id >= vocabulary) ?? row.labels.find((id) => id >= vocabulary);
  if (wild !== undefined) {
    throw new DatasetError(`token ${wild} is outside the model's vocabulary of ${vocabulary}; tokenise the rows with this model's tokenizer`);
  }
  return {
    row: row.row,
    input_ids: Int32Array.from(row.input_ids),
    labels: Int32Array.from(row.labels),
    ...(row.segment_ids ? { segment_ids: Int32Array.from(row.segment_ids) } : {}),
  };
}
