import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { HoneError, StorageError } from '../core/errors';
import { mib, openDevice, traitsOf, type Gpu } from '../runtime/device';
import { requireCheckpointRoom } from '../storage/checkpoints';
import { FolderParts, FolderRuns } from '../storage/folder';
import { Checkpoints, type CheckpointStore } from '../storage/checkpoints';
import { replaceFile } from '../storage/node-file';
import { newRun, type RunRecord, type RunStore } from '../storage/runs';
import { dataPlan, stepCount } from '../training/data-order';
import { TrainingControl } from '../training/events';
import { problemsOf, type Prepared } from '../training/prepare';
import type { Recipe } from '../training/recipe';
import { RunRecorder } from '../training/recorder';
import { Run } from '../training/run';
import { train as runTraining, type TrainingOutcome } from '../training/train';
import { readArguments, required } from './arguments';
import { showProblems } from './data';
import { nodeGpu } from './node-gpu';
import { openRecipe, requireSameRecipe, type OpenedRecipe } from './recipe-file';
import { StepLines } from './step-lines';
import { writeTrained } from './trained-files';

/** `hone train`: a recipe's run in a folder; its files are those of the studio's runs. */
export async function train(args: string[]): Promise<void> {
  const { values, positionals } = readArguments(
    args,
    { out: { type: 'string' }, resume: { type: 'boolean' } },
    { least: 1, most: 1, names: 'RECIPE.json' },
  );
  const out = resolve(required(values.out, 'out'));
  const opened = await openRecipe(positionals[0]!);
  const resume = values.resume ?? false;
  await claimFolder(out, opened.recipe, resume);
  showProblems(problemsOf(opened.prepared));

  const gpu = await openDevice(await nodeGpu());
  const forecast = await announce(opened, gpu, out);
  const outcome = await runInFolder(opened, gpu, out, resume);
  const { peak } = gpu.memory;
  console.log(`Memory: ${mib(peak)} given out at most, ${mib(forecast)} forecast (${(100 * (forecast / peak - 1)).toFixed(1)} % off)`);
  console.log(outcome.finished ? `Done: ${outcome.step} steps.` : `Stopped at step ${outcome.step} of ${outcome.totalSteps}; go on with --resume.`);
  await writeTrained(opened, folderCheckpoints(out), out);
}

function folderCheckpoints(out: string): CheckpointStore {
  return new Checkpoints(new FolderParts(join(out, 'checkpoints')));
}

/** Writes the recipe into the run's folder, or checks it against the one that is there. */
async function claimFolder(out: string, recipe: Recipe, resume: boolean): Promise<void> {
  const path = join(out, 'recipe.json');
  if (existsSync(join(out, 'run.json')) && existsSync(path)) {
    if (!resume) throw new StorageError(`${out} already holds a run; add --resume to go on with it, or choose another folder.`);
    return requireSameRecipe(recipe, path);
  }
  await mkdir(out, { recursive: true });
  await replaceFile(path, new TextEncoder().encode(`${JSON.stringify(recipe, null, 2)}\n`));
}

/** Says what the run will do and take; returns the bytes forecast. Throws where its checkpoints have no room. */
async function announce({ recipe, model, base, prepared }: OpenedRecipe, gpu: Gpu, out: string): Promise<number> {
  const run = new Run({ recipe, model: base, ...prepared }, traitsOf(gpu));
  const { total, ...kinds } = run.forecast();
  const { count } = run.session.parameters;
  await requireRoom(out, count);
  const { name, format } = prepared.dataset;
  const quantised = recipe.quantize_base === 'none' ? '' : `, its wide matrices as ${recipe.quantize_base}`;
  console.log(`Model: ${model.name} (${model.config.model_type}, ${model.format}${quantised})`);
  console.log(`Data: ${name} (${format}), ${prepared.train.length} rows to train on, ${prepared.eval.length} held out`);
  console.log(`Trained: ${count.toLocaleString('en')} parameters, ${stepCount(dataPlan(prepared.train, recipe), recipe)} steps`);
  const parts = Object.entries(kinds).map(([kind, bytes]) => `${kind} ${mib(bytes)}`);
  console.log(`Memory forecast: ${mib(total)} (${parts.join(', ')})`);
  const device = [gpu.info.vendor, gpu.info.architecture, gpu.info.description].filter(Boolean).join(' ');
  console.log(`Device: ${device}${gpu.info.software ? ' (software, slow)' : ''}`);
  return total;
}

/** Parameters and two moments, four bytes each. */
async function requireRoom(out: string, parameters: number): Promise<void> {
  requireCheckpointRoom(parameters * 12, await new FolderParts(join(out, 'checkpoints')).free());
}

async function runInFolder(opened: OpenedRecipe, gpu: Gpu, out: string, resume: boolean): Promise<TrainingOutcome> {
  const { recipe, model, base, prepared, initialAdapter } = opened;
  const runs: RunStore = new FolderRuns(dirname(out));
  const id = basename(out);
  const before = await runs.get(id);
  await runs.put(before ? { ...before, status: 'running', message: null } : firstRecord(id, opened));
  const checkpoints = folderCheckpoints(out);
  if (!resume || (await checkpoints.list()).length === 0) await runs.truncate(id, -1);
  const recorder = new RunRecorder(runs, id);
  const lines = new StepLines();
  const control = new TrainingControl();
  const stop = () => {
    if (control.stopping) process.exit(130);
    console.log('\nStopping after this step; press Ctrl+C again to stop at once.');
    control.stop('keep');
  };
  process.on('SIGINT', stop);
  try {
    const { train: rows, eval: held, samples, decode, stopIds } = prepared;
    const original = base === model ? null : model;
    const job = { recipe, model: base, original, train: rows, eval: held, samples, decode, stopIds, initialAdapter, checkpoints: recorder.checkpoints(checkpoints), resume };
    const outcome = await runTraining(job, gpu, control, (event) => {
      recorder.on(event);
      lines.on(event);
    });
    await recorder.finish({ status: outcome.finished ? 'done' : 'stopped', bestStep: outcome.best?.step ?? null });
    return outcome;
  } catch (error) {
    // The failure itself matters more than one in telling of it.
    await recorder.finish({ status: 'failed', message: error instanceof HoneError ? error.message : String(error) }).catch(() => undefined);
    throw error;
  } finally {
    process.off('SIGINT', stop);
  }
}

function firstRecord(id: string, { recipe, model, prepared }: { recipe: Recipe; model: { name: string }; prepared: Prepared }): RunRecord {
  return newRun({
    id,
    name: id,
    recipe,
    modelId: recipe.model,
    modelName: model.name,
    datasetId: recipe.dataset.path,
    datasetName: prepared.dataset.name,
    totalSteps: stepCount(dataPlan(prepared.train, recipe), recipe),
  });
}
