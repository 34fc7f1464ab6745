import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Certificate } from '../core/certificate';
import { DeviceError, ExportError } from '../core/errors';
import { FILE_TYPES, type ModelSource } from '../core/model';
import { sha256 } from '../core/sha256';
import { VERSION } from '../core/version';
import { tokenizerFiles } from '../data/tokenizer/tokenizer-files';
import { EXPORT_KINDS, prepareExport, subjectOf, trainedModel, type Choice, type Learned, type Subject } from '../exports/kinds';
import type { CardFacts } from '../exports/model-card';
import { fileStem } from '../exports/names';
import { isOneFile, planExport, type Plan } from '../exports/plan';
import { writeExport, type Examination, type Provenance } from '../exports/write-export';
import { openDevice } from '../runtime/device';
import { Checkpoints } from '../storage/checkpoints';
import { FolderParts } from '../storage/folder';
import { Trial } from '../training/answers';
import { languageOf } from '../training/prepare';
import { parseRecipe, type Recipe } from '../training/recipe';
import { trainedOf } from '../training/trained';
import { readArguments, required, UsageError } from './arguments';
import { openAdapterPath, openModelPath, readJsonFile, sha256Of } from './files';
import { nodeGpu } from './node-gpu';
import { StagedExport, certificatePath } from './staged-export';
import { cardFacts } from './trained-files';

/** What there is to export: a base and what was learned over it, by a run or in an adapter from elsewhere. */
interface Opened {
  model: ModelSource;
  learned: Learned;
  card: CardFacts;
  recipe: Recipe | null;
}

/** `hone export`: what a run or an adapter learned, as files for other programs, each with a certificate. */
export async function exportRun(args: string[]): Promise<void> {
  const { values, positionals } = readArguments(
    args,
    {
      to: { type: 'string' },
      type: { type: 'string' },
      out: { type: 'string' },
      base: { type: 'string' },
      model: { type: 'string' },
      adapter: { type: 'string' },
      checkpoint: { type: 'string' },
    },
    { least: 0, most: 1, names: 'DIR, the folder of a run, or --model and --adapter' },
  );
  const kind = oneOf(required(values.to, 'to'), 'to', EXPORT_KINDS);
  const type = values.type === undefined ? undefined : oneOf(values.type, 'type', FILE_TYPES);
  const which = oneOf(values.checkpoint ?? 'best', 'checkpoint', ['best', 'last'] as const);
  const out = resolve(required(values.out, 'out'));
  const folder = positionals[0] ?? required(values.adapter, 'adapter');
  const opened = await open(folder, which, values.base ?? values.model);
  const subject = subjectOf(opened.model, languageOf(opened.model), opened.learned, opened.card, () => tokenizerFiles(opened.model.tokenizer));
  const stem = fileStem(basename(out).replace(/\.(gguf|zip)$/i, ''));
  const choice: Choice = { kind, type, stem, fileName: basename(out) };
  const prepared = await prepareExport(subject, choice);
  await mkdir(dirname(out), { recursive: true });
  const destination = await StagedExport.start(out, isOneFile(prepared), prepared.files.map(({ name }) => name));
  const certificate = await writeExport(prepared, destination, await examination(subject, opened.recipe), await provenance(opened));
  await told(out, certificate, planExport(subject, choice, prepared), !isOneFile(prepared) && !out.toLowerCase().endsWith('.zip'));
}

async function open(path: string, which: 'best' | 'last', base: string | undefined): Promise<Opened> {
  if (!existsSync(join(path, 'recipe.json'))) {
    const model = await openModelPath(required(base, 'model'));
    const adapter = await openAdapterPath(path, model.config);
    const card = { name: basename(resolve(path)).replace(/\.gguf$/i, ''), baseModel: model.name, facts: [] };
    return { model, learned: { kind: 'adapter', adapter }, card, recipe: null };
  }
  const recipe = parseRecipe(await readJsonFile(join(path, 'recipe.json')));
  const model = await openModelPath(base ?? recipe.model);
  const loaded = await new Checkpoints(new FolderParts(join(path, 'checkpoints'))).load(which);
  if (!loaded) throw new ExportError(`${path} has no checkpoint yet, so there is nothing to export; train first.`);
  for (const sentence of loaded.damaged) console.error(sentence);
  const trained = trainedOf(loaded.checkpoint, model.config);
  console.log(`Step ${trained.step} of ${basename(resolve(path))}`);
  return { model, learned: trained, card: cardFacts(recipe, model, loaded.checkpoint), recipe };
}

async function examination(subject: Subject, recipe: Recipe | null): Promise<Examination> {
  const trained = trainedModel(subject, recipe?.quantize_base ?? 'none');
  try {
    return { trained, judge: new Trial(await openDevice(await nodeGpu()), subject.model) };
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    return { trained, judge: null, reason: `there is no GPU to run it on (${error.message.replace(/\.$/, '')})` };
  }
}

/** A run's hashes are in its recipe; for other adapters the base is read. */
async function provenance({ model, recipe }: Opened): Promise<Provenance> {
  return {
    base: { name: model.name, sha256: recipe?.model_sha256 ?? (await sha256Of(model.files)) },
    dataset: recipe && { name: basename(recipe.dataset.path), sha256: recipe.dataset.sha256 ?? null },
    recipe_sha256: recipe && sha256(new TextEncoder().encode(JSON.stringify(recipe))),
    program: `hone ${VERSION}`,
  };
}

/** Says what was written, what the certificate found, and what can be done with it; texts that go beside are written. */
async function told(out: string, { files, words }: Certificate, plan: Plan, isFolder: boolean): Promise<void> {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  console.log(`Wrote ${out} (${files.length === 1 ? '' : `${files.map(({ name }) => name).join(', ')}; `}${bytes} bytes)`);
  console.log(words);
  console.log(`Wrote ${certificatePath(out)}`);
  for (const { fileName, text } of plan.companions) {
    await writeFile(join(dirname(out), fileName), text);
    console.log(`Wrote ${join(dirname(out), fileName)}`);
  }
  for (const { runs, command } of plan.commands) {
    if (!(isFolder && runs === 'Unpack')) console.log(`${runs}:\n  ${command.replaceAll(plan.fileName, basename(out))}`);
  }
}

function oneOf<T extends string>(value: string, option: string, known: readonly T[]): T {
  const found = known.find((item) => item.toLowerCase() === value.toLowerCase());
  if (found === undefined) throw new UsageError(`--${option} is "${value}"; choose one of ${known.join(', ')}.`);
  return found;
}
