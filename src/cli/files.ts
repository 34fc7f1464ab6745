import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Adapter } from '../core/adapter';
import { ModelError } from '../core/errors';
import type { ModelConfig, ModelSource } from '../core/model';
import { readAdapter } from '../formats/adapter';
import { openModel } from '../formats/open-model';
import { FileSource } from '../storage/node-file';

/** The files of a path: itself, or what lies directly in the folder. Throws a ModelError where there is nothing. */
export async function filesOf(path: string): Promise<FileSource[]> {
  const info = await stat(path).catch(() => null);
  if (!info) throw new ModelError(`${path} does not exist; give a GGUF file or a folder with config.json and safetensors.`);
  if (info.isFile()) return [await FileSource.open(path)];
  const names = (await readdir(path, { withFileTypes: true })).filter((entry) => entry.isFile()).map((entry) => entry.name);
  return Promise.all(names.sort().map((name) => FileSource.open(join(path, name))));
}

/** A model from a GGUF file or a folder. */
export async function openModelPath(path: string): Promise<ModelSource> {
  return openModel(await filesOf(path));
}

/** A PEFT adapter from its folder. */
export async function openAdapterPath(path: string, config: ModelConfig): Promise<Adapter> {
  return readAdapter(await filesOf(path), config);
}

export function nameOf(path: string): string {
  return basename(path);
}
