import { mkdir, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { ByteSink } from '../core/bytes';
import { ExportError } from '../core/errors';
import { FILE_TYPES, type FileType, type ModelSource } from '../core/model';
import { exportGgufAdapter } from '../exports/gguf-adapter';
import { exportMergedGguf, type MergedModel } from '../exports/gguf-model';
import type { CardFacts } from '../exports/model-card';
import { exportPeft, peftFiles } from '../exports/peft';
import { fileStem, planGgufAdapter, planMerged, planPeft, type Plan, type PlanFacts } from '../exports/plan';
import { Checkpoints } from '../storage/checkpoints';
import { FolderParts } from '../storage/folder';
import { FileSink } from '../storage/node-file';
import { languageOf } from '../training/prepare';
import { parseRecipe } from '../training/recipe';
import { trainedOf, type Trained } from '../training/trained';
import { readArguments, required, UsageError } from './arguments';
import { openAdapterPath, openModelPath, readJsonFile, writeWhole } from './files';
import { cardFacts } from './trained-files';

const KINDS = ['peft', 'gguf-adapter', 'gguf'] as const;

/** What there is to export: a run's trained tensors, or an adapter's, with their base. */
interface Exported {
  model: ModelSource;
  trained: Trained;
  card: CardFacts;
}

/** `hone export`: a run's folder (or an adapter's, with --base) as files for other programs. */
export async function exportRun(args: string[]): Promise<void> {
  const { values, positionals } = readArguments(
    args,
    { to: { type: 'string' }, type: { type: 'string' }, out: { type: 'string' }, base: { type: 'string' }, checkpoint: { type: 'string' } },
    { least: 1, most: 1, names: 'DIR, the folder of a run' },
  );
  const to = oneOf(required(values.to, 'to'), 'to', KINDS);
  const type = oneOf(values.type ?? 'F16', 'type', FILE_TYPES);
  const which = oneOf(values.checkpoint ?? 'best', 'checkpoint', ['best', 'last'] as const);
  const out = resolve(required(values.out, 'out'));
  const exported = await open(positionals[0]!, which, values.base);
  await mkdir(dirname(out), { recursive: true });
  if (to === 'peft') await writePeft(exported, out);
  else if (to === 'gguf-adapter') await writeAdapter(exported, out);
  else await writeMerged(exported, type, out);
}

async function open(folder: string, which: 'best' | 'last', base: string | undefined): Promise<Exported> {
  if (existsSync(join(folder, 'adapter_config.json'))) {
    const model = await openModelPath(required(base, 'base'));
    const adapter = await openAdapterPath(folder, model.config);
    const card = { name: basename(resolve(folder)), baseModel: model.name, facts: [] };
    return { model, trained: { kind: 'adapter', step: 0, adapter }, card };
  }
  const recipe = parseRecipe(await readJsonFile(join(folder, 'recipe.json')));
  const model = await openModelPath(base ?? recipe.model);
  const loaded = await new Checkpoints(new FolderParts(join(folder, 'checkpoints'))).load(which);
  if (!loaded) throw new ExportError(`${folder} has no checkpoint yet, so there is nothing to export; train first.`);
  for (const sentence of loaded.damaged) console.error(sentence);
  const trained = trainedOf(loaded.checkpoint, model.config);
  console.log(`Step ${trained.step} of ${basename(resolve(folder))}`);
  return { model, trained, card: cardFacts(recipe, model, loaded.checkpoint) };
}

async function writePeft({ model, trained, card }: Exported, out: string): Promise<void> {
  const { adapter } = requireAdapter(trained);
  if (out.endsWith('.zip')) {
    const { bytes } = await exportPeft({ adapter, card }, await FileSink.create(out));
    return told(out, bytes, planPeft(facts(model, out), adapter, card));
  }
  const files = peftFiles({ adapter, card });
  for (const { name, pieces } of files) await writeWhole(join(out, name), pieces());
  console.log(`Wrote ${out} (${files.map(({ name }) => name).join(', ')})`);
}

async function writeAdapter({ model, trained, card }: Exported, out: string): Promise<void> {
  const { adapter } = requireAdapter(trained);
  const sink = await FileSink.create(out);
  const { bytes } = await exportGgufAdapter({ adapter, config: model.config, name: card.name }, sink);
  await told(out, bytes, planGgufAdapter(facts(model, out), adapter));
}

async function writeMerged({ model, trained, card }: Exported, type: FileType, out: string): Promise<void> {
  const { tokenizer, template } = languageOf(model);
  const request: MergedModel = {
    model,
    name: card.name,
    type,
    ...(trained.kind === 'adapter' ? { adapter: trained.adapter } : { weights: new Map([...trained.weights].map(([name, { data }]) => [name, data])) }),
    chatTemplate: tokenizer ? template.template : null,
    encode: tokenizer && ((text) => tokenizer.encode(text, { parseSpecial: false })),
  };
  const sink: ByteSink = await FileSink.create(out);
  const { bytes } = await exportMergedGguf(request, sink);
  await told(out, bytes, planMerged(facts(model, out), request));
}

function requireAdapter(trained: Trained): Extract<Trained, { kind: 'adapter' }> {
  if (trained.kind === 'adapter') return trained;
  throw new ExportError('this run trained every weight, so it has no adapter; export it with --to gguf.');
}

/** Plans name files by a stem; here the person has named the file. */
function facts(model: ModelSource, out: string): PlanFacts {
  const { tokenizer, template } = languageOf(model);
  return {
    name: fileStem(basename(out).replace(/\.(gguf|zip)$/, '')),
    model,
    chatTemplate: tokenizer ? template.template : null,
    eosToken: tokenizer?.eosToken ?? '',
  };
}

/** Says what was written and what can be done with it; texts that go beside are written. */
async function told(out: string, bytes: number, plan: Plan): Promise<void> {
  console.log(`Wrote ${out} (${bytes} bytes)`);
  const named = (text: string): string => text.replaceAll(plan.fileName, basename(out));
  for (const { fileName, text } of plan.companions) {
    await writeFile(join(dirname(out), fileName), named(text));
    console.log(`Wrote ${join(dirname(out), fileName)}`);
  }
  for (const { runs, command } of plan.commands) console.log(`${runs}:\n  ${named(command)}`);
}

function oneOf<T extends string>(value: string, option: string, known: readonly T[]): T {
  const found = known.find((item) => item.toLowerCase() === value.toLowerCase());
  if (found === undefined) throw new UsageError(`--${option} is "${value}"; choose one of ${known.join(', ')}.`);
  return found;
}
