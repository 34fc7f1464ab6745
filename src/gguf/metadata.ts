import { GgufError } from '../core/errors';
import type { Keys } from '../core/families/family';
import type { GgufHeader, GgufValue, ScalarValue } from './types';

/** Typed access to a GGUF file's metadata; what is missing or of another type is a GgufError that names the key. */
export class Metadata {
  constructor(
    private readonly file: string,
    private readonly values: GgufHeader['metadata'],
  ) {}

  /** The keys under a prefix, by the rest of their names. */
  under(prefix: string): Keys {
    const full = (key: string): string => `${prefix}.${key}`;
    return {
      file: this.file,
      number: (key) => this.number(full(key)),
      optionalNumber: (key) => this.optionalNumber(full(key)),
      optionalBoolean: (key) => this.optionalBoolean(full(key)),
      optionalString: (key) => this.optionalString(full(key)),
      strings: (key) => this.strings(full(key)),
      numbers: (key) => this.numbers(full(key)),
    };
  }

  has(key: string): boolean {
    return this.values.has(key);
  }

  /** A number that must be there; any integer or float type will do. */
  number(key: string): number {
    const value = this.optionalNumber(key);
    if (value === null) throw new GgufError(`${this.file}: the metadata lack ${key}, which the model needs; convert the model with a current llama.cpp.`);
    return value;
  }

  optionalNumber(key: string): number | null {
    const entry = this.values.get(key);
    if (!entry) return null;
    if (typeof entry.value === 'number') return entry.value;
    if (entry.type === 'ARRAY') return this.uniform(key, entry.value);
    return this.wrong(key, entry, 'a number');
  }

  optionalString(key: string): string | null {
    const entry = this.values.get(key);
    if (!entry) return null;
    return typeof entry.value === 'string' ? entry.value : this.wrong(key, entry, 'a text');
  }

  optionalBoolean(key: string): boolean | null {
    const entry = this.values.get(key);
    if (!entry) return null;
    return typeof entry.value === 'boolean' ? entry.value : this.wrong(key, entry, 'true or false');
  }

  strings(key: string): string[] | null {
    const entry = this.values.get(key);
    if (!entry) return null;
    if (entry.type !== 'ARRAY' || entry.of !== 'STRING') return this.wrong(key, entry, 'a list of texts');
    return entry.value as string[];
  }

  numbers(key: string): number[] | null {
    const entry = this.values.get(key);
    if (!entry) return null;
    if (entry.type !== 'ARRAY' || !entry.value.every((value) => typeof value === 'number')) return this.wrong(key, entry, 'a list of numbers');
    return entry.value as number[];
  }

  /** Some converters write one number a layer; Hone's layers are all alike. */
  private uniform(key: string, values: readonly ScalarValue[]): number {
    const first = values[0];
    if (typeof first !== 'number' || values.some((value) => value !== first)) {
      throw new GgufError(`${this.file}: ${key} differs from layer to layer, which Hone does not support; choose a model whose layers are alike.`);
    }
    return first;
  }

  private wrong(key: string, entry: GgufValue, expected: string): never {
    const found = entry.type === 'ARRAY' ? `a list of ${entry.of}` : `${entry.type} ${String(entry.value).slice(0, 40)}`;
    throw new GgufError(`${this.file}: ${key} is ${found}, and ${expected} was expected; the file is damaged.`);
  }
}
