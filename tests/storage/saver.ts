/**
 * A process that saves checkpoints and appends metrics for ever, to be killed: `node saver.js ROOT`.
 * Prints "saved STEP" once a checkpoint is kept. Every value of a checkpoint follows from its step.
 */
import { basename, dirname } from 'node:path';
import { writeSync } from 'node:fs';
import { folderCheckpoints, FolderRuns } from '../../src/storage/folder';

const run = process.argv[2]!;
const id = basename(run);
const runs = new FolderRuns(dirname(run));
const checkpoints = folderCheckpoints(run);
const last = await checkpoints.load('last');

for (let step = (last?.checkpoint.step ?? 0) + 1; ; step++) {
  await runs.append(id, 'metrics', [
    { step, loss: step, grad_norm: 1, learning_rate: 1e-4, tokens: 1, tokens_per_second: 1, seconds: step, epoch: 0 },
  ]);
  await checkpoints.save({
    version: 1,
    step,
    recipe: {},
    arrays: { params: new Float32Array(40_000 + step).fill(step), exp_avg: new Float32Array(300).fill(-step) },
    optimizerStep: step,
    rng: [step],
    cursor: { epoch: 0, index: step },
    metricsLength: step,
    best: null,
    seconds: step,
  });
  writeSync(1, `saved ${step}\n`);
}
