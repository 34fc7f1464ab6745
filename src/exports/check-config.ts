import { ExportError } from '../core/errors';
import type { ModelConfig } from '../core/model';

/** Keys whose values a file may give in another form without computing anything else. */
const FREE: ReadonlySet<keyof ModelConfig> = new Set(['bos_token_id', 'eos_token_id']);

/**
 * Compares the config of a file that was read again with the base's. Throws an ExportError naming the first key that differs;
 * returns what a GGUF file cannot say, in words: windows of families whose files have no key for them.
 */
export function checkConfigs(file: string, expected: ModelConfig, found: ModelConfig): string[] {
  const lost: string[] = [];
  const loses = expected.sliding_window !== null && found.sliding_window === null && found.layer_types.length === 0;
  if (loses) {
    lost.push(`The file has no place for the sliding window of ${expected.sliding_window} tokens: in longer texts other programs see further back than training did.`);
  }
  for (const key of Object.keys(expected) as (keyof ModelConfig)[]) {
    if (FREE.has(key) || (loses && ['model_type', 'sliding_window', 'layer_types'].includes(key))) continue;
    if (key === 'model_type' && openAs(expected.model_type) === found.model_type) continue;
    if (key === 'rope_long' && sameFactors(expected, found)) continue;
    if (same(plain(expected, key), plain(found, key))) continue;
    throw new ExportError(
      `${file}: ${key} is ${JSON.stringify(found[key])} when the file is read again, and the trained model has ${JSON.stringify(expected[key])}; please report this with the model's name.`,
    );
  }
  return lost;
}

/** Mistral's GGUF files are those of Llama. */
function openAs(model_type: string): string {
  return model_type === 'mistral' ? 'llama' : model_type;
}

/** Factors that no other setting gives are written as a long-rope whose two lists are the same. */
function sameFactors(expected: ModelConfig, found: ModelConfig): boolean {
  const { rope_long: long } = found;
  return expected.rope_long === null && long !== null && long.attention_factor === 1 && same(long.factors, expected.rope_factors);
}

/** What a key means where it is left empty. */
function plain(config: ModelConfig, key: keyof ModelConfig): unknown {
  const layers = config.num_hidden_layers;
  if (key === 'query_pre_attn_scalar') return config[key] ?? config.head_dim;
  if (key === 'no_rope_layers' && config[key].length === 0) return new Array<number>(layers).fill(1);
  if (key === 'sliding_window' && config.layer_types.length === 0) return null;
  return config[key];
}

/** Equal but for the roundings of float32. */
function same(a: unknown, b: unknown): boolean {
  if (typeof a === 'number' && typeof b === 'number') return Math.abs(a - b) <= 1e-6 * Math.abs(a);
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((value, i) => same(value, b[i]));
  if (a !== null && b !== null && typeof a === 'object' && typeof b === 'object') {
    return Object.entries(a).every(([key, value]) => same(value, (b as Record<string, unknown>)[key]));
  }
  return a === b;
}
