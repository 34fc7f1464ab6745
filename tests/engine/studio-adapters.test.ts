import { beforeAll, describe, expect, it } from 'vitest';
import { openDevice } from '../../src/runtime/device';
import type { GenerateRequest, Progress, RecipeInput, RunEvent } from '../../src/workers/api';
import { Studio } from '../../src/workers/studio';
import { randomAdapter } from '../fixtures';
import { nodeGpu } from '../gpu';
import { Profile } from '../workers/profile';
import { ODD, peftFolder, tinyDataset, tinyModelFile } from '../workers/tiny-model';

const ignore = () => undefined;
const device = nodeGpu().then(openDevice);
const onGpu = (profile = new Profile()): Profile => Object.assign(profile, { hasWebGpu: true, openGpu: () => device });

/** Strong enough that a random model answers otherwise. */
const loud = randomAdapter(ODD, { r: 4, strength: 0.5 });
const other = randomAdapter(ODD, { r: 2, seed: 9, strength: 0.5, target_modules: ['q_proj', 'up_proj'] });
const LORA = { r: 3, lora_alpha: 6, target_modules: ['q_proj', 'v_proj', 'down_proj'] };

/** Trains to the end and gives the run's id and its losses. */
async function trained(studio: Studio, recipe: RecipeInput, name: string): Promise<{ id: string; losses: number[] }> {
  const losses: number[] = [];
  let end!: (event: RunEvent) => void;
  const ended = new Promise<RunEvent>((resolve) => (end = resolve));
  const id = await studio.startRun(recipe, name, (event) => {
    if (event.type === 'step') losses.push(event.point.loss);
    if (event.type === 'status' && event.status !== 'running') end(event);
  });
  expect(await ended).toMatchObject({ status: 'done' });
  return { id, losses };
}

describe('adapters at work in the studio', () => {
  const profile = onGpu();
  const studio = new Studio(profile);
  let recipe: RecipeInput;
  let runId: string;
  let loudId: string;
  let otherId: string;
  let untouched: string;

  const question = (extra: Partial<GenerateRequest> = {}): GenerateRequest => ({
    ...{ modelId: recipe.model, runId: null, messages: [{ role: 'user', content: 'What is 5?' }], maxTokens: 24 },
    ...{ temperature: 0, topK: 0, topP: 1, seed: 1, ...extra },
  });
  const answer = async (extra: Partial<GenerateRequest> = {}, on: (progress: Progress) => void = ignore): Promise<string> =>
    (await studio.generate(question(extra), ignore, on)).text;

  beforeAll(async () => {
    const model = await studio.openModel({ kind: 'files', files: [await tinyModelFile()] }, ignore);
    const dataset = await studio.openDataset({ kind: 'text', text: tinyDataset(), name: 'numbers.jsonl' }, model.id, { maxLength: 96 }, ignore);
    const training = { learning_rate: 0.02, max_steps: 8, per_device_train_batch_size: 2, gradient_accumulation_steps: 1, max_length: 96, save_steps: 4, eval_steps: 8 };
    recipe = { model: model.id, dataset: { path: dataset.id }, lora: LORA, training };
    // By a studio that has never seen an adapter.
    untouched = (await new Studio(profile).generate(question(), ignore)).text;
    runId = (await trained(studio, recipe, 'Numbers')).id;
    loudId = (await studio.importAdapter(await peftFolder(loud), model.id, 'Loud')).id;
    otherId = (await studio.importAdapter(await peftFolder(other), model.id, 'Other')).id;
  });

  it('switches and scales the run\'s adapter over a base that is read once, and Base answers as the untouched model throughout', async () => {
    const reads: string[] = [];
    const full = await answer({ runId }, ({ label }) => reads.push(label));
    expect(reads.length).toBeGreaterThan(0);
    reads.length = 0;
    expect(await answer({}, ({ label, unit }) => unit === 'bytes' && reads.push(label))).toBe(untouched);
    const again = (strength: number): Promise<string> => answer({ runId, strength }, ({ label }) => reads.push(label));
    expect(full).not.toBe(untouched);
    expect(await again(0)).toBe(untouched);
    expect(await again(1)).toBe(full);
    expect(await again(1.5)).not.toBe(await again(0.3));
    expect(await answer()).toBe(untouched);
    // Nothing was read onto the GPU again, and no kernel compiled.
    expect(reads).toEqual([]);
  });

  it('lets several adapters of one base answer together, each as strongly as it is set', async () => {
    const adapters = (a: number, b: number) => ({ runId, strength: 0, adapters: [{ id: loudId, strength: a }, { id: otherId, strength: b }] });
    const [none, one, two, both] = [await answer(adapters(0, 0)), await answer(adapters(1, 0)), await answer(adapters(0, 1)), await answer(adapters(1, 1))];
    expect(none).toBe(untouched);
    expect(new Set([none, one, two, both]).size).toBe(4);
    expect(await answer({ adapters: [{ id: loudId, strength: 1 }] })).toBe(one);
    expect(await answer()).toBe(untouched);
  });

  it('a merged adapter answers as its parts do together', async () => {
    const merged = await studio.mergeAdapters([{ id: loudId, weight: 0.6 }, { id: otherId, weight: 0.9 }], 'Both');
    const together = await answer({ adapters: [{ id: loudId, strength: 0.6 }, { id: otherId, strength: 0.9 }] });
    expect(await answer({ adapters: [{ id: merged.id, strength: 1 }] })).toBe(together);
    expect(together).not.toBe(untouched);
  });

  it("lists the run's adapter, which works and merges under its own id", async () => {
    const listed = (await studio.listAdapters()).find(({ origin }) => origin === 'run')!;
    expect(listed).toMatchObject({ id: `run:${runId}`, name: 'Numbers', modelId: recipe.model, lora: LORA, bytes: null });
    expect(await answer({ adapters: [{ id: listed.id, strength: 1 }] })).toBe(await answer({ runId }));
    expect(await studio.mergeAdapters([{ id: listed.id, weight: 1 }, { id: otherId, weight: 0.1 }], 'Mix')).toMatchObject({ origin: 'merged' });
  });

  it('refuses an adapter of another model by name', async () => {
    const twin = await studio.openModel({ kind: 'files', files: [await tinyModelFile('twin.gguf')] }, ignore);
    await expect(answer({ modelId: twin.id, adapters: [{ id: loudId, strength: 1 }] })).rejects.toThrow(/^Loud belongs to odd/);
    await expect(answer({ adapters: [{ id: loudId, strength: NaN }] })).rejects.toThrow('strength of an adapter is NaN');
  });

  it('goes on from another run\'s adapter: the first loss is the one that run ended with', async () => {
    const from = (await studio.listAdapters()).find(({ origin }) => origin === 'run')!;
    const still = { ...recipe.training, learning_rate: 1e-9, max_steps: 2 };
    const fresh = await trained(studio, { ...recipe, training: still }, 'Fresh');
    const further = await trained(studio, { ...recipe, lora: { ...LORA, init_adapter: from.id }, training: still }, 'Further');
    expect(further.losses[0]).toBeLessThan(fresh.losses[0]! - 0.1);
    const { evals } = await studio.runHistory(further.id);
    // The same rows through the same weights, saved and read again.
    expect(evals[0]!.loss).toBeCloseTo((await studio.runHistory(runId)).evals.at(-1)!.loss, 5);
    expect(await answer({ runId: further.id })).toBe(await answer({ runId }));
  });

  it('starts from an imported adapter, and refuses one that disagrees with the recipe or is gone, with nothing left behind', async () => {
    const begin = (lora: object): Promise<string> => studio.startRun({ ...recipe, lora }, 'Wrong', ignore);
    const before = (await studio.listRuns()).length;
    await expect(begin({ ...LORA, init_adapter: loudId })).rejects.toThrow(/^lora\.target_modules is .*, and lora\.init_adapter \(Loud\) has .*; make the two agree/);
    await expect(begin({ r: 2, target_modules: other.config.target_modules, use_dora: true, init_adapter: otherId })).rejects.toThrow('lora.use_dora is true');
    await expect(begin({ ...LORA, init_adapter: 'adapter:none' })).rejects.toThrow('not kept in this browser any more');
    expect(await studio.listRuns()).toHaveLength(before);
    const lora = { r: 2, lora_alpha: other.config.lora_alpha, target_modules: ['q_proj', 'up_proj'], init_adapter: otherId };
    const further = await trained(studio, { ...recipe, lora, training: { ...recipe.training, learning_rate: 1e-12, max_steps: 1 } }, 'Further');
    expect(await answer({ runId: further.id })).toBe(await answer({ adapters: [{ id: otherId, strength: 1 }] }));
  });

  it('answers over the quantised base that a run trained over, for both sides, read once', async () => {
    // Rows of 32 values, which fill the blocks that 4 bits are stored in.
    const even = { ...ODD, hidden_size: 64, intermediate_size: 96, num_attention_heads: 4, head_dim: 16 };
    const model = await studio.openModel({ kind: 'files', files: [await tinyModelFile('even.gguf', even)] }, ignore);
    const { id } = await trained(studio, { ...recipe, model: model.id, quantize_base: 'Q4_0', training: { ...recipe.training, max_steps: 4 } }, 'Quantised');
    const modelId = model.id;
    const asItIs = await answer({ modelId });
    const loads: string[] = [];
    const on = ({ label, unit }: Progress): unknown => unit === 'bytes' && loads.push(label);
    const base = await answer({ modelId, quantizeBase: 'Q4_0' }, on);
    expect(base).not.toBe(asItIs);
    expect(loads.length).toBeGreaterThan(0);
    loads.length = 0;
    const tuned = await answer({ modelId, quantizeBase: 'Q4_0', runId: id }, on);
    expect(await answer({ modelId, quantizeBase: 'Q4_0', runId: id, strength: 0 }, on)).toBe(base);
    expect(tuned).not.toBe(base);
    expect(loads).toEqual([]);
    expect(await answer({ modelId, runId: id })).not.toBe(tuned);
  });
});
