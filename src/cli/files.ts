import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Adapter } from '../core/adapter';
import type { ByteSource } from '../core/bytes';
import { ModelError, RecipeError, StorageError } from '../core/errors';
import type { ModelConfig, ModelSource } from '../core/model';
import type { ExportFile } from '../exports/files';
import { readAdapter } from '../formats/adapter';
import { modelFiles } from '../formats/model-files';
import { openModel } from '../formats/open-model';
import type { AdapterAtWork } from '../models/answering';
import { FileSink, FileSource } from '../storage/node-file';

/** The files of a path: itself, or what lies directly in the folder. Throws a ModelError where there is nothing. */
export async function filesOf(path: string): Promise<FileSource[]> {
  const info = await stat(path).catch(() => null);
  if (!info) throw new ModelError(`${path} does not exist; give a GGUF file or a folder with config.json and safetensors.`);
  if (info.isFile()) return [await FileSource.open(path)];
  const paths = (await readdir(path)).sort().map((name) => join(path, name));
  const kinds = await Promise.all(paths.map((file) => stat(file).catch(() => null)));
  return Promise.all(paths.filter((_, i) => kinds[i]?.isFile()).map((file) => FileSource.open(file)));
}

/** A model from a GGUF file or a folder; its files stay open as long as the process. */
export async function openModelPath(path: string): Promise<ModelSource> {
  const files = await filesOf(path);
  keptOpen.push(...files);
  if ((await stat(path)).isFile()) return openModel(files);
  return openModel(modelFiles(files).map((file) => inFolder(basename(resolve(path)), file)));
}

/** A model reads its files until the end; one that was closed by the collector would be a crash. */
const keptOpen: FileSource[] = [];

/** A source under its folder's name as well, which is what a model of several files is called by. */
function inFolder(folder: string, file: FileSource): ByteSource {
  return { name: `${folder}/${file.name}`, size: file.size, read: (offset, length) => file.read(offset, length) };
}

/** Adapters of a command line, read for a model. */
export async function openAdapters(given: readonly { path: string; strength: number }[], config: ModelConfig): Promise<AdapterAtWork[]> {
  return Promise.all(given.map(async ({ path, strength }) => ({ adapter: await openAdapterPath(path, config), strength })));
}

/** An adapter from a GGUF file, from PEFT's folder, from a file in that folder, or from a run's folder. */
export async function openAdapterPath(path: string, config?: ModelConfig): Promise<Adapter> {
  const info = await stat(path).catch(() => null);
  if (!info) throw new ModelError(`${path} does not exist; give a GGUF adapter or the folder of a PEFT adapter.`);
  if (info.isFile() && path.toLowerCase().endsWith('.gguf')) return withFile(path, (file) => readAdapter([file], config));
  const files = await filesOf(adapterFolder(info.isFile() ? dirname(path) : path));
  try {
    return await readAdapter(files, config);
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

/** Where PEFT's files are: in the folder itself, or in a run's `adapter`. */
function adapterFolder(folder: string): string {
  const isRun = !existsSync(join(folder, 'adapter_config.json')) && existsSync(join(folder, 'adapter/adapter_config.json'));
  return isRun ? join(folder, 'adapter') : folder;
}

/** The base that the PEFT adapter of a folder names, or null. */
export async function adapterBase(folder: string): Promise<string | null> {
  const config = join(adapterFolder(folder), 'adapter_config.json');
  if (!existsSync(config)) return null;
  const { base_model_name_or_path: base } = (await readJsonFile(config)) as { base_model_name_or_path?: unknown };
  return typeof base === 'string' ? base : null;
}

/** Reads with a source that is closed afterwards. */
export async function withFile<T>(path: string, work: (source: FileSource) => Promise<T>): Promise<T> {
  const source = await FileSource.open(path);
  try {
    return await work(source);
  } finally {
    await source.close();
  }
}

/** A JSON file's value. Throws a StorageError where it is absent, a RecipeError where it is not JSON. */
export async function readJsonFile(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new StorageError(error.code === 'ENOENT' ? `${path} does not exist; check the path.` : `${path} could not be read (${error.code ?? error.message}).`);
  });
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new RecipeError(`${path} is not JSON (${(error as Error).message}); correct it and try again.`);
  }
}

/** Writes files into a folder, each as a whole. */
export async function writeFiles(folder: string, files: readonly ExportFile[]): Promise<void> {
  for (const { name, write } of files) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await write(await FileSink.create(join(folder, name)));
  }
}

const HASH_BYTES = 8 * 2 ** 20;

/** SHA-256 of a file in hexadecimal; of several, that of the list `sha256sum` prints of them in name order. */
export async function sha256Of(files: readonly ByteSource[]): Promise<string> {
  const hashes = [];
  for (const file of files) {
    const hash = createHash('sha256');
    for (let at = 0; at < file.size; at += HASH_BYTES) hash.update(await file.read(at, Math.min(HASH_BYTES, file.size - at)));
    hashes.push({ name: file.name.split('/').at(-1)!, sha256: hash.digest('hex') });
  }
  if (hashes.length === 1) return hashes[0]!.sha256;
  const lines = hashes.sort((a, b) => (a.name < b.name ? -1 : 1)).map(({ name, sha256 }) => `${sha256}  ${name}\n`);
  return createHash('sha256').update(lines.join('')).digest('hex');
}
