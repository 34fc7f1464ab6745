import { basename, resolve } from 'node:path';
import { exportGgufAdapter } from '../exports/gguf-adapter';
import { mergeAdapters, type WeightedAdapter } from '../exports/merge-adapters';
import { peftFiles } from '../exports/peft';
import { FileSink } from '../storage/node-file';
import { readArguments, required, UsageError } from './arguments';
import { adapterBase, openAdapterPath, openModelPath, writeFiles } from './files';

/** `hone merge-adapters`: several adapters of one base as one, each times its weight, in PEFT's form or as a GGUF adapter. */
export async function mergeAdapterFiles(args: string[]): Promise<void> {
  const { values, positionals } = readArguments(
    args,
    { weights: { type: 'string' }, base: { type: 'string' }, out: { type: 'string' } },
    { least: 1, most: 64, names: 'the adapters, as GGUF files or PEFT folders' },
  );
  const out = resolve(required(values.out, 'out'));
  const isGguf = (path: string): boolean => path.toLowerCase().endsWith('.gguf');
  if ([out, ...positionals].some(isGguf) && values.base === undefined) {
    throw new UsageError('A GGUF adapter orders its rows as the base does; give the base with --base.');
  }
  const weights = weightList(values.weights, positionals.length);
  const base = values.base === undefined ? null : await openModelPath(values.base);
  const parts: WeightedAdapter[] = [];
  for (const [i, path] of positionals.entries()) {
    parts.push({ name: path, adapter: await openAdapterPath(path, base?.config), weight: weights[i]! });
  }
  const adapter = mergeAdapters(parts);
  const name = basename(out).replace(/\.gguf$/i, '');
  if (isGguf(out)) {
    await exportGgufAdapter({ adapter, config: base!.config, name }, await FileSink.create(out));
  } else {
    const facts = parts.map((part) => ({ label: basename(resolve(part.name)), value: `× ${part.weight}` }));
    const baseModel = (await adapterBase(positionals[0]!)) ?? base?.name ?? '';
    await writeFiles(out, peftFiles({ adapter, card: { name, baseModel, facts }, textPath: base?.textPath }));
  }
  console.log(`Wrote ${out}: rank ${adapter.config.r}, ${parts.map((part) => `${part.weight} × ${part.name}`).join(' + ')}`);
}

/** One weight an adapter; left out, each acts in full. */
function weightList(text: string | undefined, count: number): number[] {
  if (text === undefined) return new Array<number>(count).fill(1);
  const weights = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (weights.length !== count || !weights.every(Number.isFinite)) {
    throw new UsageError(`--weights is "${text}"; give ${count} numbers with commas between, one for each adapter.`);
  }
  return weights;
}
