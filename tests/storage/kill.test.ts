import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { Random } from '../../src/core/random';
import { folderCheckpoints, FolderRuns } from '../../src/storage/folder';

let folder: string;
let script: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hone-kill-'));
  await build({
    configFile: false,
    logLevel: 'error',
    build: {
      ssr: fileURLToPath(new URL('./saver.ts', import.meta.url)),
      outDir: folder,
      emptyOutDir: false,
      rollupOptions: { output: { entryFileNames: 'saver.mjs' } },
    },
  });
  script = join(folder, 'saver.mjs');
}, 30_000);
afterAll(() => rm(folder, { recursive: true }));

/** Runs the saver and kills it `delay` ms after its first save; gives the last step it reported as saved. */
async function saveAndKill(run: string, delay: number): Promise<number> {
  const child = spawn(process.execPath, [script, run], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  const first = new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      resolve();
    });
    child.on('exit', () => reject(new Error('the saver ended by itself')));
  });
  const closed = once(child, 'close');
  await first;
  await new Promise((resolve) => setTimeout(resolve, delay));
  child.kill('SIGKILL');
  const [, signal] = (await closed) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
  return Number(output.trimEnd().split('\n').at(-1)!.replace('saved ', ''));
}

describe('a process killed while it saves', () => {
  it('always leaves the last checkpoint that it reported, or a newer one, whole', async () => {
    const run = join(folder, 'run');
    const record = {
      id: 'run', name: '', status: 'running', recipe: {}, modelId: '', modelName: '', datasetId: '', datasetName: '', step: 0, totalSteps: 1,
      savedStep: 0, bestStep: null, lastLoss: null, evalLoss: null, drift: null, createdAt: 0, updatedAt: 0, message: null,
    } as const;
    await new FolderRuns(folder).put(record);
    const random = new Random(Date.now());
    let cutOff = 0;
    for (let round = 0; round < 12; round++) {
      // A save takes a few milliseconds here; delays up to 40 ms fall on every part of one.
      const reported = await saveAndKill(run, random.uniform() * 40);
      const names = await readdir(join(run, 'checkpoints'));
      if (names.some((name) => name.endsWith('.part')) || names.length > 6) cutOff++;
      const loaded = (await folderCheckpoints(run).load('last'))!;
      const { step, arrays } = loaded.checkpoint;
      expect(loaded.damaged).toEqual([]);
      expect(step === reported || step === reported + 1).toBe(true);
      expect(arrays.params!.length).toBe(40_000 + step);
      expect(arrays.params!.every((value) => value === step)).toBe(true);
      expect(arrays.exp_avg!.every((value) => value === -step)).toBe(true);

      const runs = new FolderRuns(folder);
      await runs.truncate(basename(run), step);
      const { metrics } = await runs.history(basename(run));
      expect(metrics.map((point) => point.step)).toEqual(Array.from({ length: step }, (_, i) => i + 1));
    }
    // Rounds in which the kill fell inside a save: without any, the test would have shown nothing.
    expect(cutOff).toBeGreaterThan(0);
  }, 60_000);
});
