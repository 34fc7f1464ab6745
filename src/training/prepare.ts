import type { ByteSource } from '../core/bytes';
import { DatasetError, ModelError, RecipeError } from '../core/errors';
import type { Example } from '../core/example';
import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import { stopIds } from '../data/chat/stop-ids';
import { chooseTemplate, DEFAULT_TEMPLATES, type ChosenTemplate } from '../data/chat/templates';
import { leakedRows, readDataset, type Dataset, type DatasetProblem } from '../data/dataset';
import { splitRows } from '../data/split';
import { tokenizeDataset, type TokenizedDataset, type TokenizeOptions } from '../data/tokenize';
import { buildTokenizer, type Tokenizer } from '../data/tokenizer/tokenizer';
import { checkRecipe } from './train';
import { chatPrompt, rowPrompt, textPrompt, type Prompt } from './prompts';
import type { Recipe } from './recipe';

/** A model's words: how text becomes ids and where answers end. Without a tokenizer only ready tokens can be used. */
export interface Language {
  tokenizer: Tokenizer | null;
  template: ChosenTemplate;
  stopIds: ReadonlySet<number>;
}

/** What `train` needs besides weights and stores. */
export interface Prepared {
  language: Language;
  dataset: Dataset;
  tokenized: TokenizedDataset;
  train: Example[];
  eval: Example[];
  samples: Prompt[];
  decode: (ids: readonly number[]) => string;
  stopIds: ReadonlySet<number>;
}

/** Sample prompts that are taken from the rows where the recipe names none. */
const SAMPLE_ROWS = 3;
/** Rows that are looked through for them. */
const SAMPLE_SEARCH = 50;

/** A model's tokenizer and template. Throws a ModelError where the vocabulary is larger than the embedding. */
export function languageOf(model: ModelSource): Language {
  if (!model.tokenizer) {
    return { tokenizer: null, template: { template: DEFAULT_TEMPLATES.plain, name: 'plain' }, stopIds: new Set(model.config.eos_token_id) };
  }
  const tokenizer = buildTokenizer(model.tokenizer);
  const { vocab_size } = model.config;
  if (tokenizer.vocabSize > vocab_size) {
    throw new ModelError(
      `${model.name}: the tokenizer has ${tokenizer.vocabSize} tokens, and the embedding has ${vocab_size} rows; tokenizer and weights belong to different models.`,
    );
  }
  return { tokenizer, template: chooseTemplate(model.chatTemplate, tokenizer), stopIds: stopIds(model.config, tokenizer) };
}

/**
 * Everything `train` needs from a model, a data set's file and a recipe. Refuses, before anything is taken, what cannot work:
 * RecipeError (a length past the model's context), DatasetError (nothing to learn from), ModelError (vocabulary and embedding).
 */
export async function prepare(recipe: Recipe, model: ModelSource, source: ByteSource, onProgress?: OnProgress): Promise<Prepared> {
  checkRecipe(recipe, model);
  const language = languageOf(model);
  const { format } = recipe.dataset;
  const dataset = await readDataset(source, { ...(format && { format }), ...(onProgress && { onProgress }) });
  const tokenized = await tokenizeDataset(dataset, language.tokenizer, language.template, {
    ...tokenizing(recipe, model),
    ...(onProgress && { onProgress }),
  });
  return arrange(recipe, model, language, dataset, tokenized);
}

/** How a recipe turns a model's rows into ids. */
export function tokenizing(recipe: Recipe, model: ModelSource): TokenizeOptions {
  return { max_length: recipe.training.max_length, train_on: recipe.dataset.train_on, vocab_size: model.config.vocab_size };
}

/** The last part of `prepare`, for rows that are read and tokenised already: splits them and chooses what is sampled. */
export function arrange(recipe: Recipe, model: ModelSource, language: Language, dataset: Dataset, tokenized: TokenizedDataset): Prepared {
  checkRecipe(recipe, model);
  const { train, held } = splitRows(tokenized.examples, recipe.dataset.eval_fraction);
  if (train.length === 0) throw new DatasetError(`${dataset.name} has no rows to train on; add rows, or hold out fewer of them.`);
  const { tokenizer } = language;
  return {
    language,
    dataset,
    tokenized,
    train,
    eval: held,
    samples: tokenizer ? samplePrompts(recipe, model, language, dataset, tokenizer, held.length > 0 ? held : train) : [],
    decode: (ids) => tokenizer?.decode(ids, { skipSpecial: true }) ?? '',
    stopIds: language.stopIds,
  };
}

/** What a person should know of the rows: the data set's problems, those of tokenising, and rows both trained on and held out. */
export function problemsOf({ dataset, tokenized, train, eval: held }: Prepared): DatasetProblem[] {
  const rows = new Map(dataset.rows.map((row) => [row.row, row]));
  const of = (examples: readonly Example[]) => examples.map(({ row }) => rows.get(row)!);
  return [...dataset.problems, ...tokenized.problems, ...(held.length > 0 ? leakedRows(of(train), of(held)) : [])];
}

/** The recipe's prompts, or the first questions of the held-out (else the trained) rows; no question twice. */
function samplePrompts(
  recipe: Recipe,
  model: ModelSource,
  { template }: Language,
  dataset: Dataset,
  tokenizer: Tokenizer,
  examples: readonly Example[],
): Prompt[] {
  const context = model.config.max_position_embeddings;
  if (recipe.sample_prompts.length > 0) {
    const raw = dataset.format === 'text' && template.name === 'plain';
    return [...new Set(recipe.sample_prompts)].map((prompt) => {
      const ids = raw ? textPrompt(prompt, tokenizer) : chatPrompt([{ role: 'user', content: prompt }], tokenizer, template);
      if (ids.length >= context) {
        throw new RecipeError(`sample_prompts: "${prompt.slice(0, 40)}…" takes ${ids.length} tokens, and ${model.name} holds ${context}; shorten it.`);
      }
      return { prompt, ids };
    });
  }
  const wanted = new Set(examples.slice(0, SAMPLE_SEARCH).map(({ row }) => row));
  const found = new Map<string, Prompt>();
  for (const row of dataset.rows) {
    if (found.size === SAMPLE_ROWS) break;
    if (!wanted.has(row.row)) continue;
    const prompt = rowPrompt(row, tokenizer, template);
    // A question that fills the context leaves no room for an answer.
    if (prompt && prompt.ids.length > 0 && prompt.ids.length <= Math.min(recipe.training.max_length, context / 2)) found.set(prompt.prompt, prompt);
  }
  return [...found.values()];
}
