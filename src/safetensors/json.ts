import type { ByteSource } from '../core/bytes';
import { SafetensorsError } from '../core/errors';
import type { Keys } from '../core/families/family';

/** The largest real one, a 262,144-token tokenizer.json, takes 33 MB. */
const LONGEST_JSON = 200_000_000;

export type Json = Record<string, unknown>;

/** A whole JSON file that holds an object. Throws SafetensorsError otherwise. */
export async function readJson(source: ByteSource): Promise<Json> {
  const text = await readText(source);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new SafetensorsError(`${source.name}: the file is not JSON (${(cause as Error).message}); download it again.`, { cause });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new SafetensorsError(`${source.name}: the file holds no JSON object; download it again.`);
  }
  return json as Json;
}

/** A whole text file in UTF-8. Throws SafetensorsError where it is too long to be one. */
export async function readText(source: ByteSource): Promise<string> {
  if (source.size > LONGEST_JSON) {
    throw new SafetensorsError(`${source.name}: the file has ${source.size} bytes, too many for what its name says; download it again.`);
  }
  return new TextDecoder().decode(await source.read(0, source.size));
}

/** The last part of a source's path, which decides what a file is. */
export function baseName(source: ByteSource): string {
  return source.name.split(/[\\/]/).at(-1) ?? source.name;
}

/** Keys of a config file with checks; what is missing or of another type is a SafetensorsError that names file and key. */
export class ConfigFile implements Keys {
  constructor(
    readonly file: string,
    private readonly json: Json,
  ) {}

  number(key: string): number {
    const value = this.optionalNumber(key);
    if (value === null) throw new SafetensorsError(`${this.file}: the key ${key} is missing, which the model needs; download the config again.`);
    return value;
  }

  optionalNumber(key: string): number | null {
    const value = this.json[key] ?? null;
    if (value === null) return null;
    return typeof value === 'number' ? value : this.wrong(key, value, 'a number');
  }

  optionalString(key: string): string | null {
    const value = this.json[key] ?? null;
    if (value === null) return null;
    return typeof value === 'string' ? value : this.wrong(key, value, 'a text');
  }

  optionalBoolean(key: string): boolean | null {
    const value = this.json[key] ?? null;
    if (value === null) return null;
    return typeof value === 'boolean' ? value : this.wrong(key, value, 'true or false');
  }

  /** An integer, a list of integers, or nothing: how config files give token ids. */
  ids(key: string): number[] {
    const value = this.json[key] ?? [];
    const list: unknown[] = Array.isArray(value) ? value : [value];
    if (!list.every((id) => Number.isInteger(id))) return this.wrong(key, value, 'a token id or a list of them');
    return list as number[];
  }

  strings(key: string): string[] | null {
    const value = this.json[key] ?? null;
    if (value === null) return null;
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) return this.wrong(key, value, 'a list of texts');
    return value as string[];
  }

  numbers(key: string): number[] | null {
    const value = this.json[key] ?? null;
    if (value === null) return null;
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'number')) return this.wrong(key, value, 'a list of numbers');
    return value as number[];
  }

  /** The same file with other values for the keys that it lacks; one that it sets to null stays null. */
  withDefaults(defaults: Readonly<Json>): ConfigFile {
    return new ConfigFile(this.file, { ...defaults, ...this.json });
  }

  /** A nested object, or null. */
  section(key: string): ConfigFile | null {
    const value = this.json[key] ?? null;
    if (value === null) return null;
    if (typeof value !== 'object' || Array.isArray(value)) return this.wrong(key, value, 'an object');
    return new ConfigFile(`${this.file}, ${key}`, value as Json);
  }

  isEmpty(): boolean {
    return Object.keys(this.json).length === 0;
  }

  private wrong(key: string, value: unknown, expected: string): never {
    throw new SafetensorsError(`${this.file}: ${key} is ${JSON.stringify(value).slice(0, 60)}, and ${expected} was expected; download the file again.`);
  }
}
