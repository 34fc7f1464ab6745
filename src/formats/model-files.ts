import type { ByteSource } from '../core/bytes';
import { baseName } from '../safetensors/json';

/** What belongs to a model, by file name. */
const PARTS = /(^config\.json|\.safetensors|\.safetensors\.index\.json|^generation_config\.json|^tokenizer\.json|^tokenizer_config\.json|^special_tokens_map\.json|^chat_template\.jinja)$/;

/**
 * The files of a folder that make up a model: config.json with safetensors and what goes with them, else its GGUF files.
 * Where neither is there, all of them, so that opening them can say what they are.
 */
export function modelFiles<F extends ByteSource>(files: readonly F[]): F[] {
  const named = (pattern: RegExp): F[] => files.filter((file) => pattern.test(baseName(file)));
  if (named(/^config\.json$/).length > 0 && named(/\.safetensors$/).length > 0) return named(PARTS);
  const ggufs = named(/\.gguf$/i);
  return ggufs.length > 0 ? ggufs : [...files];
}
