import { END_MARK } from '../data/chat/spans';
import { goTemplate } from './ollama/go-template';
import { findTurns, type Turns } from './ollama/turns';

/** What a Modelfile says of a tokenizer. */
export interface TokenizerFacts {
  /** Texts of the tokens that begin and end a text, '' where there is none. */
  bosToken: string;
  eosToken: string;
  /** Whether the tokenizer puts a BOS in front of every text, so that the template must not. */
  addsBos: boolean;
  /** Texts of all tokens that end an answer. */
  stops: readonly string[];
}

export interface ModelfileFacts {
  /** What FROM names: a GGUF file beside the Modelfile, or an Ollama model. */
  from: string;
  /** A GGUF adapter beside the Modelfile. */
  adapter?: string;
  chatTemplate: string | null;
  tokenizer: TokenizerFacts;
}

/**
 * An Ollama Modelfile: FROM, ADAPTER, a TEMPLATE that writes what the chat template does, and the stops. The TEMPLATE is found by
 * rendering the chat template; where that does not succeed, a comment says so and Ollama is left to its own.
 */
export function modelfile({ from, adapter, chatTemplate, tokenizer }: ModelfileFacts): string {
  const lines = [`FROM ${from}`];
  if (adapter !== undefined) lines.push(`ADAPTER ${adapter}`);
  if (chatTemplate !== null) {
    const turns = ollamaTurns(chatTemplate, tokenizer);
    lines.push('', ...(turns ? [...remarks(turns), `TEMPLATE """${goTemplate(turns)}"""`] : NO_TEMPLATE));
    const stops = new Set([...(turns ? endMarks(turns) : []), tokenizer.eosToken, ...tokenizer.stops]);
    stops.delete('');
    if (stops.size > 0) lines.push('', ...[...stops].map((stop) => `PARAMETER stop ${value(stop)}`));
  }
  return `${lines.join('\n')}\n`;
}

/** A chat template's turns as Ollama has to write them, null where they could not be found. */
export function ollamaTurns(chatTemplate: string, { bosToken, eosToken, addsBos }: TokenizerFacts): Turns | null {
  const turns = findTurns(chatTemplate, { bosToken, eosToken });
  if (!turns || !addsBos || bosToken === '') return turns;
  const withoutBos = (text: string): string => (text.startsWith(bosToken) ? text.slice(bosToken.length) : text);
  const bare = <T extends { head: string }>(part: T | null): T | null => part && { ...part, head: withoutBos(part.head) };
  const greeting = bare(turns.greeting);
  return { ...turns, head: withoutBos(turns.head), system: bare(turns.system), greeting: greeting && { ...greeting, system: bare(greeting.system) } };
}

const NO_TEMPLATE = [
  "# The model's chat template does more than a TEMPLATE can say: it does not write the same text around every turn.",
  '# Without a TEMPLATE here Ollama takes the nearest of its own for the template in the GGUF file; compare what it writes before you rely on it.',
];

function remarks({ system }: Turns): string[] {
  const all = ["# Writes what the model's chat template writes for system, user and assistant messages; tools are left out."];
  if (system === null) all.push('# The chat template leaves system messages out, and so does this one.');
  if (system?.refused) all.push("# The chat template refuses system messages; here they stand before the first user's message.");
  return all;
}

/** The end token that a reply is followed by; where there is none, the beginning of the user's next turn. */
function endMarks({ toUser }: Turns): string[] {
  const mark = END_MARK.exec(toUser.trimStart())?.[0] ?? toUser.trim();
  return mark === '' ? [] : [mark];
}

/** A value in a Modelfile, which knows no escapes. */
function value(text: string): string {
  return /["\n]/.test(text) ? `"""${text}"""` : `"${text}"`;
}
