import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExportFile } from '../../src/exports/files';
import { FileSink } from '../../src/storage/node-file';

/** A Python with torch, transformers and peft: HONE_PYTHON, else python3. */
const python = process.env['HONE_PYTHON'] ?? 'python3';
const script = fileURLToPath(new URL('./peft_check.py', import.meta.url));

export const hasPeft =
  spawnSync(python, ['-c', 'import importlib.util as u, sys; sys.exit(not all(u.find_spec(m) for m in ("torch", "transformers", "peft")))']).status === 0;

/** What Python is to compute: see peft_check.py. */
export interface Job {
  base: string;
  adapter?: string;
  /** Arguments of PEFT's LoraConfig: the adapter is made and saved instead of loaded. */
  make?: object;
  ids: readonly number[];
}

/** Every job's logits, position by position, from one process. */
export function pythonLogits(folder: string, jobs: readonly Job[]): Float32Array[][] {
  const outs = jobs.map((_, i) => join(folder, `logits-${i}.f32`));
  const file = join(folder, 'jobs.json');
  writeFileSync(file, JSON.stringify(jobs.map((job, i) => ({ ...job, out: outs[i] }))));
  const run = spawnSync(python, [script, file], { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`peft_check.py: ${run.stderr}`);
  return outs.map((out, i) => {
    const all = new Float32Array(new Uint8Array(readFileSync(out)).buffer);
    const { length } = jobs[i]!.ids;
    return jobs[i]!.ids.map((_, t) => all.subarray((t * all.length) / length, ((t + 1) * all.length) / length));
  });
}

/** Writes an export's files into a folder. */
export async function writeExport(folder: string, files: readonly ExportFile[]): Promise<string> {
  for (const { name, write } of files) await write(await FileSink.create(join(folder, name)));
  return folder;
}
