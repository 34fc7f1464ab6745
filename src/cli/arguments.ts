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

/** A value that the command cannot do without. */
export function required(value: string | undefined, option: string): string {
  if (value === undefined) throw new UsageError(`--${option} is missing; "npx hone --help" shows the command.`);
  return value;
}

/** A whole number option, or its default. */
export function wholeNumber(value: string | undefined, option: string, fallback: number, least = 0): number {
  if (value === undefined) return fallback;
  const number = Number(value);
  if (!Number.isInteger(number) || number < least) throw new UsageError(`--${option} is "${value}"; give a whole number of ${least} or more.`);
  return number;
}

/** A decimal option, or its default. */
export function decimal(value: string | undefined, option: string, fallback: number): number {
  if (value === undefined) return fallback;
  const number = Number(value);
  if (!Number.isFinite(number)) throw new UsageError(`--${option} is "${value}"; give a number.`);
  return number;
}
