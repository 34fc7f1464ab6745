import { GgufError } from '../core/errors';
import type { GgufTokenizerKeys, TokenizerSource } from '../core/model';
import { preTokenizerName } from './pre-tokenizers';
import { TOKEN_TYPES } from './types';
import { bool, numbers, text, texts, u32, type GgufMetadata } from './writer';

/** The parts of a tokenizer.json that GGUF keeps. */
interface TokenizerJson {
  model?: {
    type?: string;
    vocab?: Record<string, number> | [string, number][];
    merges?: (string | [string, string])[];
    byte_fallback?: boolean;
    unk_token?: string | null;
    unk_id?: number | null;
  };
  added_tokens?: { id: number; content: string; special?: boolean }[];
  normalizer?: Step | null;
  pre_tokenizer?: Step | null;
  post_processor?: Step | null;
}
interface Step {
  type?: string;
  prepend?: string;
  prepend_scheme?: string;
  add_prefix_space?: boolean;
  normalizers?: Step[];
  pretokenizers?: Step[];
  processors?: Step[];
  single?: { SpecialToken?: { id?: string } }[];
}
interface TokenizerConfig {
  bos_token?: TokenName;
  eos_token?: TokenName;
  unk_token?: TokenName;
  pad_token?: TokenName;
  add_bos_token?: boolean;
  add_eos_token?: boolean;
}
type TokenName = string | { content?: string } | null;

/**
 * A tokenizer as GGUF's keys, whatever it came from: a GGUF's own pass through, a tokenizer.json becomes `gpt2`
 * (byte-level BPE) or `llama` (SentencePiece-like: byte fallback). `encode` turns text into ids, adding and parsing nothing;
 * it identifies the pre-tokenizer. `rows`: the embedding's, to which the tokens are filled up with `[PADi]`.
 * Throws GgufError for a tokenizer that llama.cpp has no form for.
 */
export function ggufTokenizer(source: TokenizerSource, rows: number, encode: ((text: string) => number[]) | null): GgufTokenizerKeys {
  if (source.kind === 'gguf') return source.keys;
  const json = source.tokenizer as TokenizerJson;
  const model = json.model ?? {};
  const table = tokenTable(json, rows);
  const shared = { ...table, ...specialIds(json, source.config as TokenizerConfig, table.tokens) };
  if (model.type === 'BPE' && !model.byte_fallback) {
    const pre = preTokenizerName(json, encode);
    if (pre === null) {
      throw new GgufError(
        'the tokenizer cuts text by a rule that llama.cpp has no name for, so a GGUF file would read text differently; export as PEFT instead.',
      );
    }
    return { ...shared, model: 'gpt2', pre, scores: null, merges: mergeStrings(model.merges ?? []), add_space_prefix: null };
  }
  if ((model.type === 'BPE' && model.merges) || model.type === 'Unigram') {
    return { ...shared, model: 'llama', pre: 'default', scores: scores(json, table.tokens), merges: null, add_space_prefix: prependsSpace(json) };
  }
  throw new GgufError(`the tokenizer is of type ${model.type ?? 'unknown'}, and GGUF files hold BPE or SentencePiece ones; export as PEFT instead.`);
}

/** Tokens and their types by id; ids that nothing uses become `[PADi]`. */
function tokenTable(json: TokenizerJson, rows: number): { tokens: string[]; token_type: number[] } {
  const tokens = Array.from({ length: rows }, (_, id) => `[PAD${id}]`);
  const token_type = new Array<number>(rows).fill(TOKEN_TYPES.unused);
  const set = (token: string, id: number, type: number): void => {
    if (!(id >= 0 && id < rows)) throw new GgufError(`the token ${token} has the id ${id}, and the embedding has ${rows} rows; they do not belong together.`);
    tokens[id] = token;
    token_type[id] = type;
  };
  const vocab = json.model?.vocab ?? {};
  const fallback = json.model?.byte_fallback === true || json.model?.type === 'Unigram';
  const entries = Array.isArray(vocab) ? vocab.map(([token], id): [string, number] => [token, id]) : Object.entries(vocab);
  for (const [token, id] of entries) set(token, id, fallback && /^<0x[0-9A-F]{2}>$/.test(token) ? TOKEN_TYPES.byte : TOKEN_TYPES.normal);
  for (const added of json.added_tokens ?? []) {
    // llama.cpp finds and prints user-defined tokens as they stand, so Gemma's runs of spaces have to be written as spaces.
    const content = fallback && !added.special ? added.content.replaceAll('▁', ' ') : added.content;
    set(content, added.id, added.special ? TOKEN_TYPES.control : TOKEN_TYPES.userDefined);
  }
  const unknown = fallback ? unknownId(json, tokens) : null;
  if (unknown !== null) token_type[unknown] = TOKEN_TYPES.unknown;
  return { tokens, token_type };
}

function unknownId(json: TokenizerJson, tokens: string[]): number | null {
  if (typeof json.model?.unk_id === 'number') return json.model.unk_id;
  const id = tokens.indexOf(json.model?.unk_token ?? '<unk>');
  return id < 0 ? null : id;
}

function specialIds(
  json: TokenizerJson,
  config: TokenizerConfig,
  tokens: string[],
): Omit<GgufTokenizerKeys, 'model' | 'pre' | 'tokens' | 'token_type' | 'scores' | 'merges' | 'add_space_prefix'> {
  const id = (name: TokenName | undefined): number | null => {
    const content = typeof name === 'string' ? name : name?.content;
    const found = content === undefined ? -1 : tokens.indexOf(content);
    return found < 0 ? null : found;
  };
  const bos = id(config.bos_token);
  const eos = id(config.eos_token);
  const around = addedAround(json.post_processor ?? null);
  return {
    bos_token_id: bos,
    eos_token_id: eos,
    eot_token_id: turnEnd(tokens),
    unknown_token_id: id(config.unk_token),
    padding_token_id: id(config.pad_token),
    add_bos_token: around ? bos !== null && around.first === tokens[bos] : (config.add_bos_token ?? false),
    add_eos_token: around ? eos !== null && around.last === tokens[eos] : (config.add_eos_token ?? false),
  };
}

/** The token that ends a turn in the known chat formats; written down because llama.cpp's own guess is arbitrary. */
function turnEnd(tokens: string[]): number | null {
  for (const token of ['<|im_end|>', '<|eot_id|>', '<|end|>', '<end_of_turn>']) {
    const id = tokens.indexOf(token);
    if (id >= 0) return id;
  }
  return null;
}

/** What a template post-processor puts before and after a text, or null where there is none. */
function addedAround(step: Step | null): { first: string | null; last: string | null } | null {
  const template = [step, ...(step?.processors ?? [])].find((candidate) => candidate?.type === 'TemplateProcessing');
  if (!template?.single) return null;
  return { first: template.single[0]?.SpecialToken?.id ?? null, last: template.single.at(-1)?.SpecialToken?.id ?? null };
}

function mergeStrings(merges: (string | [string, string])[]): string[] {
  return merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')));
}

/**
 * SentencePiece scores: a Unigram's own, or for BPE minus the rank of the merge that makes the token
 * (llama.cpp joins the pair whose whole has the highest score first).
 */
function scores(json: TokenizerJson, tokens: string[]): number[] {
  const vocab = json.model?.vocab;
  if (Array.isArray(vocab)) return tokens.map((_, id) => vocab[id]?.[1] ?? 0);
  const ranks = new Map<string, number>();
  const merges = json.model?.merges ?? [];
  merges.forEach((merge, rank) => {
    const [left, right] = typeof merge === 'string' ? merge.split(' ') : merge;
    const token = `${left ?? ''}${right ?? ''}`;
    if (!ranks.has(token)) ranks.set(token, rank);
  });
  return tokens.map((token) => -(ranks.get(token) ?? merges.length));
}

/** Whether the tokenizer puts a space before a text, as Llama 2's does. */
function prependsSpace(json: TokenizerJson): boolean {
  const normalizers = [json.normalizer, ...(json.normalizer?.normalizers ?? [])];
  if (normalizers.some((step) => step?.type === 'Prepend' && step.prepend === '▁')) return true;
  const splits = [json.pre_tokenizer, ...(json.pre_tokenizer?.pretokenizers ?? [])];
  return splits.some((step) => step?.type === 'Metaspace' && (step.prepend_scheme ?? 'always') !== 'never' && step.add_prefix_space !== false);
}

/** Puts a tokenizer's keys, and a chat template where there is one, into a file's metadata. */
export function addTokenizerKeys(metadata: GgufMetadata, keys: GgufTokenizerKeys, chatTemplate: string | null): void {
  const set = (name: string, value: Parameters<GgufMetadata['set']>[1] | null): void => {
    if (value) metadata.set(`tokenizer.ggml.${name}`, value);
  };
  set('model', text(keys.model));
  set('pre', keys.pre === null ? null : text(keys.pre));
  set('tokens', texts(distinct(keys.tokens)));
  set('token_type', keys.token_type && numbers('I32', keys.token_type));
  set('scores', keys.scores && numbers('F32', keys.scores));
  set('merges', keys.merges && texts(keys.merges));
  for (const name of ['bos', 'eos', 'eot', 'unknown', 'padding'] as const) {
    const id = keys[`${name}_token_id`];
    set(`${name}_token_id`, id === null ? null : u32(id));
  }
  for (const name of ['add_bos_token', 'add_eos_token', 'add_space_prefix'] as const) {
    const value = keys[name];
    set(name, value === null ? null : bool(value));
  }
  if (chatTemplate !== null) metadata.set('tokenizer.chat_template', text(chatTemplate));
}

/** llama.cpp stops the whole process at a token that occurs twice; later ones get a name of their own. */
function distinct(tokens: string[]): string[] {
  const seen = new Set<string>();
  return tokens.map((token, id) => {
    const name = seen.has(token) ? `[PAD${id}]` : token;
    seen.add(name);
    return name;
  });
}
