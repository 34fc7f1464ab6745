import { Tokenizer as PipelineTokenizer } from '@huggingface/tokenizers';
import { TokenizerError } from '../../core/errors';
import type { PrefixSpace } from './offsets';
import { GPT2 } from './pretokenizers';
import type { Encoder } from './encoder';
import { Vocabulary, type Spelling } from './vocabulary';

/** The parts of a tokenizer.json that are looked at here; the rest is the library's business. */
interface TokenizerJson {
  model: Component & { vocab?: unknown; merges?: unknown };
  normalizer: Component | null;
  pre_tokenizer: Component | null;
  post_processor: Component | null;
  decoder: Component | null;
  added_tokens: AddedToken[];
}

interface Component {
  type: string;
  [key: string]: unknown;
}

interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  normalized: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
}

/**
 * Text to ids by a tokenizer.json's rules (transformers' own implementation of them). Special tokens that are not to
 * be parsed are left out of a second instance, which shares the first one's vocabulary and merges.
 */
export function tokenizerJsonEncoder(json: TokenizerJson): Encoder['encode'] {
  const exact = { ...json, pre_tokenizer: exactRules(json.pre_tokenizer) };
  const parsing = new PipelineTokenizer(exact, {});
  const literal = { begins: undefined as PipelineTokenizer | undefined, continues: undefined as PipelineTokenizer | undefined };
  const withoutSpecial = (pre_tokenizer: Component | null): PipelineTokenizer => {
    const empty = { type: 'BPE', vocab: {}, merges: [] };
    const added_tokens = json.added_tokens.filter((token) => !token.special);
    const built = new PipelineTokenizer({ ...exact, pre_tokenizer, model: empty, added_tokens }, {});
    built.model = parsing.model;
    return built;
  };
  return (text, parseSpecial, continues = false) => {
    let chosen = parsing;
    if (!parseSpecial && continues) chosen = literal.continues ??= withoutSpecial(withoutFirstSpace(exact.pre_tokenizer));
    else if (!parseSpecial) chosen = literal.begins ??= withoutSpecial(exact.pre_tokenizer);
    return chosen.encode(text, { add_special_tokens: false }).ids;
  };
}

/** The rule for text that does not begin the whole: where a space is put before the first word only, none is. */
function withoutFirstSpace(step: Component | null): Component | null {
  if (step?.type === 'Sequence') return { ...step, pretokenizers: (step.pretokenizers as Component[]).map(withoutFirstSpace) };
  return step?.type === 'Metaspace' && step.prepend_scheme === 'first' ? { ...step, prepend_scheme: 'never' } : step;
}

/**
 * The library's ByteLevel and Digits read JavaScript's `\s` and `\d`, which are other characters than Unicode's white space (U+0085,
 * U+FEFF) and numbers; its Split is exact, so the same rules are given to that.
 */
function exactRules(step: Component | null): Component | null {
  if (!step) return null;
  const split = (Regex: string): Component => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false });
  if (step.type === 'Sequence') {
    return { ...step, pretokenizers: (step.pretokenizers as Component[]).map(exactRules) };
  }
  if (step.type === 'Digits') return split(step.individual_digits === true ? '\\p{N}' : '\\p{N}+');
  if (step.type !== 'ByteLevel' || step.use_regex === false || step.add_prefix_space === true) return step;
  return { type: 'Sequence', pretokenizers: [split(GPT2), { ...step, use_regex: false }] };
}

/** The encoder of a model folder: `tokenizer` is tokenizer.json's content, `config` tokenizer_config.json's. */
export function huggingfaceEncoder(tokenizer: object, config: object): Encoder {
  const json = checkedJson(tokenizer);
  const spelling = vocabularySpelling(json);
  const settings = config as Record<string, unknown>;
  const vocabulary = jsonVocabulary(json, spelling);
  let encode: Encoder['encode'];
  let around: number[];
  try {
    encode = tokenizerJsonEncoder(json);
    around = new PipelineTokenizer(json, {}).encode('', { add_special_tokens: true }).ids;
  } catch (error) {
    throw new TokenizerError(`tokenizer.json cannot be used: ${(error as Error).message}. Download the model's folder again, or open its GGUF file.`);
  }
  const bosId = tokenId(settings.bos_token, vocabulary);
  const eosId = tokenId(settings.eos_token, vocabulary);
  // What surrounds an empty text: an EOS at its end is a suffix, everything else comes before the text.
  const endsWithEos = around.length > 0 && around.at(-1) === eosId && eosId !== bosId;
  return {
    vocabulary,
    bosId,
    eosId,
    prefix: endsWithEos ? around.slice(0, -1) : around,
    suffix: endsWithEos ? around.slice(-1) : [],
    prefixSpace: prefixSpace(json),
    composes: stages(json.normalizer).some((stage) => stage.type === 'NFC'),
    encode,
  };
}

function checkedJson(tokenizer: object): TokenizerJson {
  const json = tokenizer as Partial<TokenizerJson>;
  const model = json.model;
  if (typeof model !== 'object' || model === null || typeof model.vocab !== 'object' || model.vocab === null) {
    throw new TokenizerError('tokenizer.json has no model with a vocab; it should be the file that Hugging Face tokenizers write. Download it again.');
  }
  // Old files leave the type out where there are merges.
  const type = model.type ?? (Array.isArray(model.merges) ? 'BPE' : 'unknown');
  if (type !== 'BPE' && type !== 'Unigram') {
    throw new TokenizerError(`tokenizer.json has a ${type} model; Hone reads BPE and Unigram. Use a model with such a tokenizer.`);
  }
  if (type === 'BPE' && !Array.isArray(model.merges)) {
    throw new TokenizerError('tokenizer.json has a BPE model without merges; download the file again.');
  }
  return {
    model: { ...model, type },
    normalizer: json.normalizer ?? null,
    pre_tokenizer: json.pre_tokenizer ?? null,
    post_processor: json.post_processor ?? null,
    decoder: json.decoder ?? null,
    added_tokens: json.added_tokens ?? [],
  };
}

/** A component and, for a Sequence, what it is made of. */
function stages(component: Component | null): Component[] {
  if (!component) return [];
  if (component.type !== 'Sequence') return [component];
  const inner = (component.normalizers ?? component.pretokenizers ?? component.decoders ?? []) as Component[];
  return inner.flatMap((stage) => stages(stage));
}

function vocabularySpelling(json: TokenizerJson): Spelling {
  const parts = [...stages(json.decoder), ...stages(json.pre_tokenizer)].map((stage) => stage.type);
  if (parts.includes('ByteLevel')) return 'byte-level';
  const spaced = stages(json.normalizer).some((stage) => stage.content === '▁') || parts.includes('Metaspace');
  if (spaced || parts.includes('ByteFallback')) return 'sentencepiece';
  throw new TokenizerError(
    `tokenizer.json decodes with ${parts.join(', ') || 'nothing'}; Hone reads byte-level (GPT-2) and SentencePiece tokenizers. Use a model with such a tokenizer.`,
  );
}

function jsonVocabulary(json: TokenizerJson, spelling: Spelling): Vocabulary {
  const tokens: (string | undefined)[] = [];
  if (Array.isArray(json.model.vocab)) (json.model.vocab as [string, number][]).forEach(([token], id) => (tokens[id] = token));
  else for (const [token, id] of Object.entries(json.model.vocab as Record<string, number>)) tokens[checkedId(token, id)] = token;
  const literal = new Set<number>();
  const special = new Set<number>();
  for (const token of json.added_tokens) {
    tokens[checkedId(token.content, token.id)] = token.content;
    literal.add(token.id);
    if (token.special) special.add(token.id);
  }
  return new Vocabulary(Array.from(tokens), spelling, literal, special);
}

/** Ids index arrays, so a wild one must not get through: real vocabularies stay below a few hundred thousand. */
function checkedId(token: string, id: unknown): number {
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < 2 ** 24) return id;
  throw new TokenizerError(`tokenizer.json gives ${JSON.stringify(token)} the id ${String(id)}; ids are whole numbers from 0. Download the file again.`);
}

/** `bos_token` and its kin are a string or an added token in tokenizer_config.json. */
function tokenId(setting: unknown, vocabulary: Vocabulary): number | null {
  const content = typeof setting === 'object' && setting !== null ? (setting as { content?: unknown }).content : setting;
  return typeof content === 'string' ? vocabulary.id(content) : null;
}

function prefixSpace(json: TokenizerJson): PrefixSpace {
  if (stages(json.normalizer).some((stage) => stage.type === 'Prepend')) return 'always';
  const pre = stages(json.pre_tokenizer);
  if (pre.some((stage) => stage.type === 'ByteLevel' && stage.add_prefix_space === true)) return 'missing';
  const metaspace = pre.find((stage) => stage.type === 'Metaspace');
  if (!metaspace) return 'none';
  const scheme = metaspace.prepend_scheme ?? (metaspace.add_prefix_space === false ? 'never' : 'always');
  return scheme === 'never' ? 'none' : scheme === 'first' ? 'first-missing' : 'missing';
}
