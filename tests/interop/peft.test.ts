import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unzipSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Adapter } from '../../src/core/adapter';
import { MemorySink } from '../../src/core/bytes';
import type { ModelSource } from '../../src/core/model';
import { exportPeft } from '../../src/exports/peft';
import { openModel } from '../../src/formats/open-model';
import { folderSources } from '../files';
import { randomAdapter } from '../fixtures';
import { largestDifference, referenceLogits } from '../reference/decoder';
import { shared } from '../shared';
import { engineLogits } from './engine';

/** A Python with torch, transformers and peft: HONE_PYTHON, else python3. */
const python = process.env['HONE_PYTHON'] ?? 'python3';
const hasPeft = spawnSync(python, ['-c', 'import importlib.util as u, sys; sys.exit(not all(u.find_spec(m) for m in ("torch", "transformers", "peft")))']).status === 0;
const base = shared('models/tiny-llama');
const IDS = [1, 3, 40, 77, 114, 151, 188, 225, 262, 299, 336, 373, 410, 447, 484, 21];

describe.skipIf(!hasPeft || !base)('a PEFT export (skipped without ../shared/models or a Python with torch, transformers and peft)', () => {
  let folder = '';
  let model: ModelSource;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hone-peft-'));
    model = await openModel(await folderSources(base!, /json$|safetensors$/));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Exports, unpacks, and asks Python for the logits. */
  async function peftLogits(adapter: Adapter, name: string): Promise<Float32Array[]> {
    const sink = new MemorySink();
    await exportPeft({ adapter, card: { name, baseModel: 'org/tiny-llama', facts: [] } }, sink);
    const target = join(folder, name);
    mkdirSync(target);
    for (const [file, bytes] of Object.entries(unzipSync(sink.bytes()))) writeFileSync(join(target, file), bytes);
    const script = fileURLToPath(new URL('./peft_check.py', import.meta.url));
    const out = join(target, 'logits.f32');
    const run = spawnSync(python, [script, base!, target, out, ...IDS.map(String)], { encoding: 'utf8' });
    expect(run.status, run.stderr).toBe(0);
    const all = new Float32Array(new Uint8Array(readFileSync(out)).buffer);
    return IDS.map((_, t) => all.subarray(t * model.config.vocab_size, (t + 1) * model.config.vocab_size));
  }

  it.each([
    ['plain', false],
    ['rslora', true],
  ])('%s: Python gives the logits of the engine and of the f64 reference', async (name, use_rslora) => {
    const adapter = randomAdapter(model.config, { r: 5, use_rslora });
    const theirs = await peftLogits(adapter, name);
    const expected = await referenceLogits(model, IDS, adapter);
    // PyTorch and the engine compute in f32; logits reach about 10.
    expect(largestDifference(expected, theirs)).toBeLessThan(1e-4);
    expect(largestDifference(await engineLogits(model, IDS, adapter), theirs)).toBeLessThan(1e-3);
    expect(largestDifference(await referenceLogits(model, IDS), theirs)).toBeGreaterThan(0.1);
  });
});
