import { beforeEach, describe, expect, it } from 'vitest';
import { newRun } from '../../src/storage/runs';
import type { ModelSummary, RecipeInput } from '../../src/workers/api';
import { Studio } from '../../src/workers/studio';
import { Profile } from './profile';
import { ODD, tinyDataset, tinyModelFile } from './tiny-model';

const ignore = () => undefined;
/** Rows of 64 weights fill blocks, which the odd model's 30 do not. */
const EVEN = { ...ODD, hidden_size: 64, intermediate_size: 128, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16 };

describe('a base held in fewer bits', () => {
  let profile: Profile;
  let studio: Studio;
  let model: ModelSummary;
  let dataset = '';
  const recipe = (quantize_base: 'none' | 'Q8_0' | 'Q4_0'): RecipeInput => ({ model: model.id, quantize_base, dataset: { path: dataset }, training: { max_length: 64 } });

  async function open(file: File): Promise<void> {
    model = await studio.openModel({ kind: 'files', files: [file] }, ignore);
    dataset = (await studio.openDataset({ kind: 'text', text: tinyDataset(8), name: 'rows.jsonl' }, model.id, {}, ignore)).id;
  }

  beforeEach(async () => {
    profile = new Profile();
    studio = new Studio(profile);
    await open(await tinyModelFile('even.gguf', EVEN));
  });

  it('is offered where matrices are stored in 32 bits and fill blocks', async () => {
    expect(model.quantizable).toBe(true);
    expect(model.projections).toEqual(['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']);
    await open(await tinyModelFile());
    expect(model.quantizable).toBe(false);
  });

  it('takes less memory in the forecast, the fewer the bits', async () => {
    const [whole, eight, four] = await Promise.all((['none', 'Q8_0', 'Q4_0'] as const).map(async (type) => (await studio.forecast(recipe(type))).memory.model));
    expect(eight!).toBeLessThan(0.5 * whole!);
    expect(four!).toBeLessThan(eight!);
  });

  it('is not measured where nothing is lost, and needs a GPU where something is', async () => {
    await expect(studio.measureDrift(recipe('none'), ignore)).rejects.toThrow(/trained over as it is, so nothing is lost/);
    await expect(studio.measureDrift(recipe('Q4_0'), ignore)).rejects.toThrow('There is no GPU in this test.');
    await open(await tinyModelFile());
    await expect(studio.measureDrift(recipe('Q4_0'), ignore)).rejects.toThrow(/nothing is lost/);
  });

  it('is measured no further once that was stopped, and anew when asked again', async () => {
    const measuring = studio.measureDrift(recipe('Q4_0'), ignore);
    await studio.stopMeasuring();
    await expect(measuring).rejects.toMatchObject({ name: 'StoppedError' });
    await expect(studio.measureDrift(recipe('Q4_0'), ignore)).rejects.toThrow('There is no GPU in this test.');
  });

  it('is none in a run of a version that had no word for it', async () => {
    const { id, name } = model;
    await profile.runs.put({ ...newRun({ id: 'old', name: 'old', recipe: { model: id, dataset: { path: dataset } }, modelId: id, modelName: name, datasetId: dataset, datasetName: 'rows.jsonl', totalSteps: 9 }), status: 'done' });
    expect((await studio.listRuns())[0]?.recipe).toMatchObject({ quantize_base: 'none', lora: { use_dora: false, target_modules: 'all-linear' } });
  });
});
