import type { ByteSource } from '../core/bytes';

/** Whether a file's first bytes are those of an ASCII text: how files say what they are. */
export async function startsWith(file: ByteSource, text: string): Promise<boolean> {
  if (file.size < text.length) return false;
  return new TextDecoder('latin1').decode(await file.read(0, text.length)) === text;
}
