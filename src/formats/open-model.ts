import type { ByteSource } from '../core/bytes';
import { ModelError } from '../core/errors';
import type { ModelSource } from '../core/model';
import { openGguf } from '../gguf/model';
import { openSafetensorsModel } from '../safetensors/model';
import { startsWith } from './magic';

/**
 * Opens a model from whatever files a person chose: one GGUF file, or the files of a Hugging Face folder.
 * What the files are is decided by their content. Throws GgufError, SafetensorsError or ModelError with what to do instead.
 */
export async function openModel(files: readonly ByteSource[]): Promise<ModelSource> {
  if (files.length === 0) throw new ModelError('no file was chosen; choose a .gguf file, or all files of a model folder.');
  const ggufs: ByteSource[] = [];
  for (const file of files) if (await startsWith(file, 'GGUF')) ggufs.push(file);
  if (ggufs.length === 1) return openGguf(ggufs[0]!);
  if (ggufs.length > 1) {
    throw new ModelError(`${ggufs.length} GGUF files were chosen (${ggufs.map((file) => file.name).slice(0, 4).join(', ')}); choose one of them.`);
  }
  if (files.some((file) => /(^|[\\/])config\.json$|\.safetensors$/.test(file.name))) return openSafetensorsModel(files);
  const first = files[0]!;
  throw new ModelError(`${first.name}: ${await describe(first)}; choose a .gguf file, or a folder with config.json and .safetensors files.`);
}

async function describe(file: ByteSource): Promise<string> {
  if (file.size === 0) return 'the file is empty';
  if (await startsWith(file, 'PK')) return 'the file is a zip archive or a PyTorch .bin/.pt file, which Hone does not read';
  if (await startsWith(file, 'ggml')) return 'the file is in the old GGML format, which Hone does not read';
  if (await startsWith(file, 'version https://git-lfs')) return 'the file is a Git LFS pointer, not the model itself';
  if (await startsWith(file, '<')) return 'the file is a web page, not a model';
  return 'the file is neither a GGUF file nor part of a model folder';
}
