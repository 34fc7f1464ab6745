import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { TemplateError } from '../../core/errors';
import { STRIP_FUNCTIONS, useStripFunctions } from './strip';

/** One turn of a conversation. */
export interface Message {
  role: string;
  content: string;
}

/** What a template sees besides the messages. */
export interface RenderContext {
  bosToken: string;
  eosToken: string;
  /** Texts of the tokenizer's special tokens: tells a turn's end token from ordinary text. */
  specialTokens?: readonly string[];
  /** Tool descriptions in OpenAI's form; null as transformers passes it where there are none. */
  tools?: readonly object[] | null;
  /** More variables for the template, such as `enable_thinking`. */
  variables?: Record<string, unknown>;
}

const compiled = new Map<string, Template>();
/** A page or a run has one or two templates; the bound only keeps strangers' templates from piling up. */
const MOST_COMPILED = 16;

/**
 * Renders a conversation as transformers' `apply_chat_template` does (blocks trimmed, `raise_exception`, `tojson`,
 * `tools` null). `strftime_now` tells a fixed day: rows must not change with the calendar between a run and its resumption.
 * Throws a TemplateError where the template is broken or refuses the conversation.
 */
export function renderChat(
  template: string,
  messages: readonly Message[],
  { bosToken, eosToken, tools = null, variables = {}, addGenerationPrompt = false }: RenderContext & { addGenerationPrompt?: boolean },
): string {
  const program = compile(template);
  if (messages.length === 0) throw new TemplateError('The conversation has no messages; add some.');
  try {
    const environment = globals();
    const given = { messages, tools, documents: null, add_generation_prompt: addGenerationPrompt, bos_token: bosToken, eos_token: eosToken };
    for (const [name, value] of Object.entries({ ...given, ...variables })) environment.set(name, value);
    return (new Interpreter(environment).run(program.parsed) as { value: string }).value;
  } catch (error) {
    throw new TemplateError(
      `The chat template cannot render this conversation: ${(error as Error).message}. Change the conversation, or use another chat template.`,
    );
  }
}

function compile(template: string): Template {
  let program = compiled.get(template);
  if (!program) {
    try {
      program = new Template(template);
      useStripFunctions(program.parsed);
    } catch (error) {
      throw new TemplateError(`The chat template is not valid Jinja: ${(error as Error).message}. Correct it, or use a named default template.`);
    }
    if (compiled.size >= MOST_COMPILED) compiled.clear();
    compiled.set(template, program);
  }
  return program;
}

/** What every template can name. (The library's own set is closed, and its `strftime_now` reads the clock.) */
function globals(): Environment {
  const environment = new Environment();
  const constants = { true: true, True: true, false: false, False: false, none: null, None: null };
  const functions = { range, raise_exception: raise, strftime_now: fixedDay, ...STRIP_FUNCTIONS };
  for (const [name, value] of Object.entries({ ...constants, ...functions })) environment.set(name, value);
  return environment;
}

function raise(message: string): never {
  throw new Error(message);
}

/** Templates count messages; anything longer is a mistake that must not fill the memory. */
const LONGEST_RANGE = 1e6;

/** Python's range as an array. */
function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= LONGEST_RANGE)) throw new Error(`range(${from}, ${to}, ${step}) is too long`);
  return Array.from({ length: count }, (_, i) => from + i * step);
}

/** Python's strftime for 26 July 2024, the day that Llama's templates name where they know no other. */
function fixedDay(format: string): string {
  const parts: Record<string, string> = { Y: '2024', m: '07', d: '26', b: 'Jul', B: 'July', H: '00', M: '00', S: '00', A: 'Friday', a: 'Fri', '%': '%' };
  return format.replace(/%([YmdbBHMSAa%])/g, (_, letter: string) => parts[letter]!);
}
