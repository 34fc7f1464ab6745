import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Reference data (real models, golden runs, tokenizer vectors) that may lie beside the checkout.
 * Returns the absolute path, or null where it is absent: tests that need it then skip and say so.
 */
export function shared(path: string): string | null {
  const full = fileURLToPath(new URL(`../../shared/${path}`, import.meta.url));
  return existsSync(full) ? full : null;
}
