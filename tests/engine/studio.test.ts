import { beforeAll, describe, expect, it } from 'vitest';
import { MemorySource } from '../../src/core/bytes';
import { openGguf } from '../../src/gguf/model';
import { openDevice, type Gpu } from '../../src/runtime/device';
import type { MetricPoint, RecipeInput, RunEvent, RunStatus } from '../../src/workers/api';
import { Studio } from '../../src/workers/studio';
import { nodeGpu } from '../gpu';
import { Profile } from '../workers/profile';
import { tinyDataset, tinyModelFile } from '../workers/tiny-model';

const ignore = () => undefined;
/** One device for all studios of this file: kernels are compiled once a device. */
const device = nodeGpu().then(openDevice);

/** A profile on the machine's GPU. */
function profileOnGpu(): Profile {
  const profile = new Profile();
  return Object.assign(profile, { hasWebGpu: true, openGpu: () => device });
}

const settings = {
  lora: { r: 3, lora_alpha: 6, target_modules: ['q_proj', 'v_proj', 'down_proj'] },
  training: { learning_rate: 0.02, max_steps: 14, per_device_train_batch_size: 2, gradient_accumulation_steps: 2, max_length: 96, save_steps: 4, eval_steps: 7, packing: true },
} satisfies Partial<RecipeInput>;

/** Opens the tiny model and its data. */
async function opened(studio: Studio): Promise<RecipeInput> {
  const model = await studio.openModel({ kind: 'files', files: [await tinyModelFile()] }, ignore);
  const input = { kind: 'text', text: tinyDataset(), name: 'numbers.jsonl' } as const;
  const dataset = await studio.openDataset(input, model.id, { maxLength: 96, evalFraction: 0.1 }, ignore);
  return { model: model.id, dataset: { path: dataset.id }, ...settings } as RecipeInput;
}

/** Follows a run: its points, its states, and when it comes to a state. */
class Follower {
  readonly points: MetricPoint[] = [];
  readonly states: RunStatus[] = [];
  /** Bytes that the device had given out at the last step. */
  memory = 0;
  private readonly waiting: { reached: () => boolean; resolve: () => void }[] = [];
  readonly on = (event: RunEvent): void => {
    if (event.type === 'step') {
      this.points.push(event.point);
      this.memory = event.memory;
    }
    if (event.type === 'status') this.states.push(event.status);
    for (const { reached, resolve } of this.waiting) if (reached()) resolve();
  };
  until(reached: () => boolean): Promise<void> {
    if (reached()) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ reached, resolve }));
  }
  ended = () => this.until(() => ['done', 'stopped', 'failed', 'interrupted'].includes(this.states.at(-1)!));
}

const numbers = (points: readonly MetricPoint[]) => points.map(({ step, loss, grad_norm }) => ({ step, loss, grad_norm }));

describe('the studio', () => {
  const profile = profileOnGpu();
  const studio = new Studio(profile);
  const whole = new Follower();
  let recipe: RecipeInput;
  let id = '';

  beforeAll(async () => {
    recipe = await opened(studio);
    id = await studio.startRun(recipe, 'Numbers', whole.on);
    await whole.ended();
  });

  it('trains to the end: the loss falls, points, evaluations and samples are kept', async () => {
    expect(whole.states).toEqual(['running', 'done']);
    const { metrics, evals, samples } = await studio.runHistory(id);
    expect(metrics).toEqual(whole.points);
    expect(metrics.map(({ step }) => step)).toEqual(Array.from({ length: 14 }, (_, i) => i + 1));
    expect(metrics.at(-1)!.loss).toBeLessThan(0.9 * metrics[0]!.loss);
    expect(evals.map(({ step }) => step)).toEqual([0, 7, 14]);
    // Three questions of held-out rows, before, half-way and at the end.
    expect(samples).toHaveLength(9);
    const [run] = await studio.listRuns();
    expect(run).toMatchObject({ id, name: 'Numbers', status: 'done', step: 14, totalSteps: 14, savedStep: 14, modelName: 'odd', datasetName: 'numbers.jsonl' });
  });

  it('forecasts what the run took: steps, and memory to the byte', async () => {
    const forecast = await studio.forecast(recipe);
    expect(forecast.steps).toBe(14);
    expect(forecast.verdict).toBe('fits');
    expect(forecast.seconds).toBeGreaterThan(0);
    const { total, ...kinds } = forecast.memory;
    expect(Object.values(kinds).reduce((sum, bytes) => sum + bytes, 0)).toBe(total);
    // Nothing else was on the device while the first run trained.
    expect(whole.memory).toBe(total);
  });

  it('lets the base and the adapter answer, the same way every time', async () => {
    const request = {
      modelId: recipe.model,
      messages: [{ role: 'user' as const, content: 'What is 5?' }],
      ...{ maxTokens: 12, temperature: 0, topK: 0, topP: 1, seed: 1 },
    };
    let streamed = '';
    const tuned = await studio.generate({ ...request, runId: id }, (piece) => (streamed += piece));
    expect(streamed).toBe(tuned.text);
    expect(tuned.tokens).toBeGreaterThan(0);
    const base = await studio.generate({ ...request, runId: null }, ignore);
    expect(base.text).not.toBe(tuned.text);
    expect((await studio.generate({ ...request, runId: id }, ignore)).text).toBe(tuned.text);
  });

  it('stops an answer that is being given', async () => {
    const messages = [{ role: 'user' as const, content: 'What is 5?' }];
    let pieces = 0;
    const result = await studio.generate({ modelId: recipe.model, runId: null, messages, maxTokens: 150, temperature: 1, topK: 0, topP: 1, seed: 3 }, () => {
      pieces++;
      void studio.stopGenerating();
    });
    expect(pieces).toBeGreaterThan(0);
    expect(result.reason).toBe('stopped');
  });

  it.each([
    { kind: 'peft' as const },
    { kind: 'gguf-adapter' as const },
    { kind: 'gguf' as const, type: 'F16' as const },
    { kind: 'gguf' as const, type: 'Q8_0' as const },
    { kind: 'safetensors' as const },
    { kind: 'mlx' as const },
    { kind: 'modelfile' as const },
    { kind: 'lmstudio' as const, type: 'Q8_0' as const },
  ])('exports $kind $type as planned, to the byte, with a certificate', async (choice) => {
    const request = { runId: id, name: 'numbers', ...choice };
    const plan = await studio.planExport(request);
    const result = await studio.runExport(request, null, ignore);
    expect(result.fileName).toBe(plan.fileName);
    expect(result.bytes).toBe(plan.bytes);
    expect(result.blob!.size).toBe(plan.bytes);
    const { certificate, sha256 } = result;
    expect(certificate.words).toMatch(/^The file gives the (same )?answers/);
    expect(certificate.archive ?? certificate.files[0]).toEqual({ name: result.fileName, bytes: result.bytes, sha256 });
    expect([certificate.base.sha256, certificate.dataset!.sha256, certificate.recipe_sha256]).toEqual(Array(3).fill(expect.stringMatching(/^[0-9a-f]{64}$/)));
    // What waited for its certificate is gone.
    expect((await profile.files.list()).filter(({ group }) => group.startsWith('export:'))).toEqual([]);
  });

  it('keeps nothing of an export that has no room to be checked in', async () => {
    const before = await profile.files.list();
    profile.medium.room = 1000;
    await expect(studio.runExport({ runId: id, name: 'numbers', kind: 'gguf', type: 'F16' }, null, ignore)).rejects.toThrow(/^numbers-F16\.gguf needs .* are free\. Nothing was lost\./);
    profile.medium.room = null;
    expect(await profile.files.list()).toEqual(before);
  });

  it('opens its own merged model again, with tokenizer and template', async () => {
    const { blob, fileName } = await studio.runExport({ runId: id, name: 'numbers', kind: 'gguf', type: 'F32' }, null, ignore);
    const model = await studio.openModel({ kind: 'files', files: [new File([blob!], fileName)] }, ignore);
    expect(model).toMatchObject({ architecture: 'llama', hasTokenizer: true, chatTemplate: 'model', layers: 2, stored: true });
    const bytes = new Uint8Array(await blob!.arrayBuffer());
    expect((await openGguf(new MemorySource(bytes, fileName))).config.hidden_size).toBe(30);
  });

  it('goes on bit for bit in a new tab after the old one was killed', async () => {
    const other = profileOnGpu();
    const first = new Studio(other);
    const killed = new Follower();
    const run = await first.startRun(await opened(first), 'Numbers', killed.on);
    // Two checkpoints are there, and steps after the second.
    await killed.until(() => killed.points.length >= 10);
    await first.pauseRun();
    await killed.until(() => killed.states.at(-1) === 'paused');
    other.tabKilled();

    const second = new Studio(other);
    const [listed] = await second.listRuns();
    expect(listed).toMatchObject({ id: run, status: 'interrupted', savedStep: 8 });
    const resumed = new Follower();
    await second.resumeRun(run, resumed.on);
    await resumed.ended();
    expect(resumed.points[0]!.step).toBe(9);
    const { metrics } = await second.runHistory(run);
    expect(numbers(metrics)).toEqual(numbers(whole.points));
    await first.stopRun('discard');
  });

  it('stops and keeps, stops and goes back, and goes on from either', async () => {
    const profile = profileOnGpu();
    const studio = new Studio(profile);
    const kept = new Follower();
    const run = await studio.startRun(await opened(studio), 'Numbers', kept.on);
    await kept.until(() => kept.points.length >= 5);
    await studio.stopRun('keep');
    const [stopped] = await studio.listRuns();
    expect(stopped!.status).toBe('stopped');
    expect(stopped!.savedStep).toBe(stopped!.step);
    const again = new Follower();
    await studio.resumeRun(run, again.on);
    await again.until(() => again.points.length >= 1);
    await studio.stopRun('discard');
    const [back] = await studio.listRuns();
    expect(back!.step).toBe(back!.savedStep);
    expect((await studio.runHistory(run)).metrics.at(-1)!.step).toBe(back!.savedStep);
    const last = new Follower();
    await studio.resumeRun(run, last.on);
    await last.ended();
    expect(numbers((await studio.runHistory(run)).metrics)).toEqual(numbers(whole.points));
  });

  it('pauses and goes on with the same numbers, and refuses other work on the GPU meanwhile', async () => {
    const profile = profileOnGpu();
    const studio = new Studio(profile);
    const recipe = await opened(studio);
    const run = new Follower();
    const id = await studio.startRun(recipe, 'Numbers', run.on);
    await run.until(() => run.points.length >= 2);
    await studio.pauseRun();
    await expect(studio.startRun(recipe, 'Second', ignore)).rejects.toThrow('A run is training already');
    const question = { modelId: recipe.model, runId: null, messages: [{ role: 'user' as const, content: 'a' }], maxTokens: 4, temperature: 0, topK: 0, topP: 1, seed: 1 };
    await expect(studio.generate(question, ignore)).rejects.toThrow('The GPU is training');
    const elsewhere = new Studio(profile);
    expect((await elsewhere.listRuns())[0]).toMatchObject({ status: 'running', message: 'This run is training in another tab.' });
    await expect(elsewhere.resumeRun(id, ignore)).rejects.toThrow('in another tab');
    await studio.resumeRun(id, run.on);
    await run.ended();
    expect(run.states).toEqual(['running', 'paused', 'running', 'done']);
    expect(numbers(run.points)).toEqual(numbers(whole.points));
  });

  it('tells of a lost device, and goes on bit for bit on the next one', async () => {
    const profile = profileOnGpu();
    const devices: Gpu[] = [];
    profile.openGpu = async () => {
      devices.push(await openDevice(await nodeGpu()));
      return devices.at(-1)!;
    };
    const studio = new Studio(profile);
    const lost = new Follower();
    const run = await studio.startRun(await opened(studio), 'Numbers', lost.on);
    await lost.until(() => lost.points.length >= 6);
    devices[0]!.device.destroy();
    await lost.ended();
    expect(lost.states.at(-1)).toBe('interrupted');
    expect((await studio.listRuns())[0]).toMatchObject({ status: 'interrupted', message: expect.stringMatching(/The GPU was lost .* resume from the last checkpoint/) as string });
    const resumed = new Follower();
    await studio.resumeRun(run, resumed.on);
    await resumed.ended();
    expect(devices).toHaveLength(2);
    expect(numbers((await studio.runHistory(run)).metrics)).toEqual(numbers(whole.points));
  });

  it('refuses a run that the budget cannot hold, and keeps nothing of it', async () => {
    const studio = new Studio(profileOnGpu());
    const recipe = await opened(studio);
    await studio.setBudget(1000);
    expect((await studio.forecast(recipe)).verdict).toBe('too big');
    await expect(studio.startRun(recipe, 'Too big', ignore)).rejects.toThrow(/needs .* of GPU memory, and the budget is/);
    expect(await studio.listRuns()).toEqual([]);
  });

  it('trains every weight, and the result answers and is exported merged', async () => {
    const studio = new Studio(profileOnGpu());
    const adapterRecipe = await opened(studio);
    const recipe = { ...adapterRecipe, lora: null, training: { ...adapterRecipe.training, max_steps: 6, learning_rate: 2e-3 } };
    const run = new Follower();
    const id = await studio.startRun(recipe, 'All of it', run.on);
    await run.ended();
    expect(run.states.at(-1)).toBe('done');
    expect(run.points.at(-1)!.loss).toBeLessThan(run.points[0]!.loss);
    const request = { modelId: recipe.model, messages: [{ role: 'user' as const, content: 'What is 5?' }], maxTokens: 8, temperature: 0, topK: 0, topP: 1, seed: 1 };
    const tuned = await studio.generate({ ...request, runId: id }, ignore);
    await expect(studio.planExport({ runId: id, kind: 'peft', name: 'x' })).rejects.toThrow('has no adapter');
    const { blob } = await studio.runExport({ runId: id, kind: 'gguf', type: 'F32', name: 'x' }, null, ignore);
    const merged = await studio.openModel({ kind: 'files', files: [new File([blob!], 'x.gguf')] }, ignore);
    const again = await studio.generate({ ...request, modelId: merged.id, runId: null }, ignore);
    expect(again.text).toBe(tuned.text);
  });
});
