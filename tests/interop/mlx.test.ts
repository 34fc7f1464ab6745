import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LoraConfig } from '../../src/core/adapter';
import { mlxFiles } from '../../src/exports/mlx';
import { folderFiles } from '../../src/exports/safetensors-model';
import { FAMILY_CONFIGS, randomAdapter, randomModel } from '../fixtures';
import { largestDifference, referenceLogits } from '../reference/decoder';
import { writeExport } from './python';

/** A Python with mlx-lm: HONE_MLX_PYTHON, else python3. */
const python = process.env['HONE_MLX_PYTHON'] ?? 'python3';
const hasMlx = spawnSync(python, ['-c', 'import importlib.util as u, sys; sys.exit(u.find_spec("mlx_lm") is None)']).status === 0;

const IDS = [1, 9, 20, 57, 94, 131, 8, 45];
const CASES: [string, string, Partial<LoraConfig>][] = [
  ['llama', 'llama', {}],
  ['llama with rsLoRA and patterns', 'llama', { use_rslora: true, rank_pattern: { v_proj: 2 }, alpha_pattern: { up_proj: 40 } }],
  ['llama with DoRA', 'llama', { use_dora: true, alpha_pattern: { q_proj: 3 } }],
  ['qwen2', 'qwen2', {}],
  ['qwen3', 'qwen3', {}],
  ['gemma2', 'gemma2', {}],
];

describe.skipIf(!hasMlx)('MLX adapters in mlx-lm (skipped without a Python that has mlx-lm: HONE_MLX_PYTHON)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hone-mlx-'));
  const cases = CASES.map(([name, family, lora]) => {
    const config = { ...FAMILY_CONFIGS.find(({ model_type }) => model_type === family)!, hidden_size: 96, rope_factors: null, sliding_window: 64 };
    return { name, model: randomModel(config), adapter: randomAdapter(config, { r: 4, ...lora }) };
  });

  beforeAll(async () => {
    const jobs = [];
    for (const [i, { model, adapter }] of cases.entries()) {
      const [base, tuned] = ['base', 'adapter'].map((part) => join(folder, `${i}-${part}`)) as [string, string];
      for (const path of [base, tuned]) mkdirSync(path);
      await writeExport(base, await folderFiles({ model, type: 'F32' }));
      await writeExport(tuned, mlxFiles(adapter, model.config));
      jobs.push({ base, adapter: tuned, ids: IDS, out: join(folder, `${i}.f32`) });
    }
    writeFileSync(join(folder, 'jobs.json'), JSON.stringify(jobs));
    const run = spawnSync(python, [fileURLToPath(new URL('./mlx_check.py', import.meta.url)), join(folder, 'jobs.json')], { encoding: 'utf8' });
    if (run.status !== 0) throw new Error(`mlx_check.py: ${run.stderr}`);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(cases.map((one, i) => ({ ...one, i })))('$name gives the logits of the f64 reference', async ({ model, adapter, i }) => {
    const all = new Float32Array(new Uint8Array(readFileSync(join(folder, `${i}.f32`))).buffer);
    const theirs = IDS.map((_, t) => all.subarray((t * all.length) / IDS.length, ((t + 1) * all.length) / IDS.length));
    // mlx-lm computes in f32; logits reach about 10.
    expect(largestDifference(await referenceLogits(model, IDS, adapter), theirs)).toBeLessThan(1e-3);
    expect(largestDifference(await referenceLogits(model, IDS), theirs)).toBeGreaterThan(0.1);
  });
});
