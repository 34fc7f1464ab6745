import { parseArgs, type ParseArgsConfig } from 'node:util';
import { HoneError } from '../core/errors';

/** A command line that cannot be followed. */
export class UsageError extends HoneError {
  override name = 'UsageError';
}

type Options = NonNullable<ParseArgsConfig['options']>;

/** Options and positionals of a command; throws a UsageError that names what is not known. */
export function readArguments<O extends Options>(
  args: string[],
  options: O,
  positionals: { least: number; most: number; names: string },
): ReturnType<typeof parseArgs<{ args: string[]; options: O; allowPositionals: true; strict: true }>> {
  let parsed;
  try {
    parsed = parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split('. ')[0]}; "npx hone --help" lists the options.`);
  }
  const { length } = parsed.positionals;
  if (length < positionals.least || length > positionals.most) {
    throw new UsageError(`${length} arguments were given; wanted: ${positionals.names || 'none'}.`);
  }
  return parsed;
}

/** Options of `generate` and `logits` that say which adapters answer; both may stand several times. */
export const ADAPTER_OPTIONS = {
  adapter: { type: 'string', multiple: true },
  'adapter-scale': { type: 'string', multiple: true },
} as const;

/** The paths of `--adapter`, each with the `--adapter-scale` that follows it, or 1. */
export function adapterArguments(args: string[]): { path: string; strength: number }[] {
  const { tokens } = parseArgs({ args, options: ADAPTER_OPTIONS, strict: false, allowPositionals: true, tokens: true });
  const adapters: { path: string; strength: number; scaled: boolean }[] = [];
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const last = adapters.at(-1);
    if (token.name === 'adapter') adapters.push({ path: token.value ?? '', strength: 1, scaled: false });
    if (token.name !== 'adapter-scale') continue;
    if (!last || last.scaled) throw new UsageError('--adapter-scale belongs after the --adapter that it is of; give one for each.');
    Object.assign(last, { strength: decimal(token.value, 'adapter-scale', 1), scaled: true });
  }
  return adapters;
}

/** A value that the command cannot do without. */
export function required(value: string | undefined, option: string): string {
  if (value === undefined) throw new UsageError(`--${option} is missing; "npx hone --help" shows the command.`);
  return value;
}

/** A whole number option, or its default. */
export function wholeNumber(value: string | undefined, option: string, fallback: number, least = 0): number {
  if (value === undefined) return fallback;
  const number = Number(value);
  if (!Number.isInteger(number) || number < least) {
    throw new UsageError(
      `--${option} is "${value}"; give a whole number of ${least} or more.`,
    );
  }
  return number;
}

/** A decimal option, or its default. */
export function decimal(value: string | undefined, option: string, fallback: number): number {
  if (value === undefined) return fallback;
  const number = Number(value);
  if (!Number.isFinite(number)) throw new UsageError(`--${option} is "${value}"; give a number.`);
  return number;
}
