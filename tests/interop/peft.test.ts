import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Adapter, LoraConfig } from '../../src/core/adapter';
import type { ModelSource } from '../../src/core/model';
import { peftFiles } from '../../src/exports/peft';
import { folderFiles } from '../../src/exports/safetensors-model';
import { readAdapter } from '../../src/formats/adapter';
import { openModel } from '../../src/formats/open-model';
import { folderSources } from '../files';
import { FAMILY_CONFIGS, randomAdapter, randomModel } from '../fixtures';
import { largestDifference, referenceLogits } from '../reference/decoder';
import { engineLogits } from './engine';
import { hasPeft, pythonLogits, writeExport, type Job } from './python';

const IDS = [1, 3, 40, 77, 114, 151, 28, 65, 102, 139, 16, 53, 90, 127, 4, 21];
const CARD = { name: 'interop', baseModel: 'org/base', facts: [] };

/** PyTorch and the engine compute in f32, the engine's answers in another order of sums; logits reach about 10. */
const TOLERANCE = 1e-3;
/** Of one f32 computation and the f64 reference. */
const F32 = 1e-4;

const VARIANTS: Record<string, Partial<LoraConfig>> = {
  plain: {},
  rslora: { use_rslora: true },
  dora: { use_dora: true },
  'dora and rslora': { use_dora: true, use_rslora: true, target_modules: ['q_proj', 'gate_proj', 'down_proj'] },
  patterns: {
    rank_pattern: { 'layers\\.1\\.mlp\\.up_proj': 2, v_proj: 9 },
    alpha_pattern: { o_proj: 3, 'model.layers.0.self_attn.v_proj': 40, 'layers\\.[12]\\.mlp\\.up_proj': 1.5 },
  },
};

/** Transformers wants heads that divide hidden_size; a list of rope factors that no released Llama has cannot be said in a config. */
const CONFIGS = FAMILY_CONFIGS.map((config) => ({ ...config, hidden_size: 96, ...(config.model_type === 'llama' && { rope_factors: null }) }));
/** A family may stand there more than once. */
const NAMES = CONFIGS.map(({ model_type }, i) => `${model_type} (${i + 1})`);

/** One model of each family, with its base as transformers opens it. */
interface Base {
  model: ModelSource;
  folder: string;
}

describe.skipIf(!hasPeft)('transformers and PEFT (skipped without a Python that has torch, transformers and peft: HONE_PYTHON)', () => {
  let folder = '';
  const jobs: Job[] = [];
  const families = new Map<string, Base & { adapter: Adapter; merged: string; jobs: { adapter: number; merged: number } }>();
  const exported = new Map<string, { adapter: Adapter; job: number }>();
  const made = new Map<string, { folder: string; job: number }>();
  let answers: Float32Array[][] = [];

  const place = (name: string): string => {
    const path = join(folder, name.replaceAll(' ', '-'));
    mkdirSync(path);
    return path;
  };
  const ask = (job: Omit<Job, 'ids'>): number => jobs.push({ ...job, ids: IDS }) - 1;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hone-peft-'));
    for (const [i, config] of CONFIGS.entries()) {
      const name = NAMES[i]!;
      const model = randomModel(config);
      const base = await writeExport(place(`${name} base`), await folderFiles({ model, type: 'F32' }));
      const adapter = randomAdapter(config);
      const peft = await writeExport(place(`${name} peft`), peftFiles({ adapter, card: CARD }));
      const merged = await writeExport(place(`${name} merged`), await folderFiles({ model, adapter, type: name.startsWith('gemma') ? 'BF16' : 'F16' }));
      families.set(name, { model, folder: base, adapter, merged, jobs: { adapter: ask({ base, adapter: peft }), merged: ask({ base: merged }) } });
    }
    const { model, folder: base } = families.get(NAMES[0]!)!;
    for (const [name, variant] of Object.entries(VARIANTS)) {
      const adapter = randomAdapter(model.config, variant);
      const peft = await writeExport(place(`exported ${name}`), peftFiles({ adapter, card: CARD }));
      exported.set(name, { adapter, job: ask({ base, adapter: peft }) });
      const { config } = adapter;
      const path = join(folder, `made-${name.replaceAll(' ', '-')}`);
      made.set(name, { folder: path, job: ask({ base, adapter: path, make: { ...config, target_modules: [...config.target_modules] } }) });
    }
    answers = pythonLogits(folder, jobs);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(Object.keys(VARIANTS))('%s: PEFT gives the exported adapter the logits of the f64 reference', async (name) => {
    const { adapter, job } = exported.get(name)!;
    const { model } = families.get(NAMES[0]!)!;
    expect(largestDifference(await referenceLogits(model, IDS, adapter), answers[job]!)).toBeLessThan(F32);
    expect(largestDifference(await referenceLogits(model, IDS), answers[job]!)).toBeGreaterThan(0.1);
  });

  it.each(Object.keys(VARIANTS))('%s: an adapter that PEFT saved answers here as there', async (name) => {
    const { folder: saved, job } = made.get(name)!;
    const { model } = families.get(NAMES[0]!)!;
    const adapter = await readAdapter(await folderSources(saved, /json$|safetensors$/), model.config);
    expect(largestDifference(await referenceLogits(model, IDS, adapter), answers[job]!)).toBeLessThan(F32);
    expect(largestDifference(await engineLogits(model, IDS, adapter), answers[job]!)).toBeLessThan(TOLERANCE);
  });

  it.each(NAMES)('%s: an adapter on the exported base, and the merged 16-bit folder, answer there as here', async (name) => {
    const { model, adapter, merged, jobs: asked } = families.get(name)!;
    expect(largestDifference(await engineLogits(model, IDS, adapter), answers[asked.adapter]!)).toBeLessThan(TOLERANCE);
    const reopened = await openModel(await folderSources(merged));
    expect(largestDifference(await engineLogits(reopened, IDS), answers[asked.merged]!)).toBeLessThan(TOLERANCE);
    // The merged weights are rounded to 16 bits, so the two agree roughly, and an adapter that was left out does not.
    const merging = largestDifference(answers[asked.adapter]!, answers[asked.merged]!);
    const without = largestDifference(await referenceLogits(model, IDS), answers[asked.merged]!);
    expect(merging).toBeLessThan(without / 5);
  });
});
