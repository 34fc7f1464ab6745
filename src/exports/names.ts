import type { ModelSource } from '../core/model';

/** A person's words as a file name that every system and shell takes: letters, digits, dots, dashes, underscores. */
export function fileStem(name: string): string {
  const stem = name
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .replaceAll(/[^\w.-]+/g, '-')
    .replaceAll(/^[-.]+|[-.]+$/g, '');
  return stem === '' ? 'hone' : stem.slice(0, 100);
}

/** The base as a GGUF file beside an adapter: the one that was opened, or the one that the person has to convert. */
export function baseFileName(model: ModelSource): string {
  const file = model.format === 'gguf' ? model.files[0]?.name.split(/[\\/]/).at(-1) : undefined;
  return file ?? `${fileStem(model.name)}.gguf`;
}
