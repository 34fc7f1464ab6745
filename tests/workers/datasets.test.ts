import { beforeEach, describe, expect, it } from 'vitest';
import { MemorySource } from '../../src/core/bytes';
import type { RecipeInput } from '../../src/workers/api';
import { Studio } from '../../src/workers/studio';
import { Profile } from './profile';
import { tinyDataset, tinyModelFile } from './tiny-model';

const ignore = () => undefined;

describe('data sets of the studio', () => {
  let profile: Profile;
  let studio: Studio;
  let model = '';
  const text = (rows: string, name = 'rows.jsonl') => ({ kind: 'text', text: rows, name }) as const;
  beforeEach(async () => {
    profile = new Profile();
    studio = new Studio(profile);
    model = (await studio.openModel({ kind: 'files', files: [await tinyModelFile()] }, ignore)).id;
  });

  it('reads, splits and counts a data set, and keeps it for the next tab', async () => {
    const summary = await studio.openDataset(text(tinyDataset(24)), model, { maxLength: 96, evalFraction: 0.1 }, ignore);
    expect(summary).toMatchObject({ name: 'rows.jsonl', format: 'messages', rows: 24, usable: 24, trainRows: 21, evalRows: 3, tooLong: 0, firstRow: 1, problems: [] });
    expect(summary.tokens.trained).toBeLessThan(summary.tokens.total);
    const nextTab = new Studio(profile);
    expect(await nextTab.openDataset({ kind: 'stored', id: summary.id }, model, { maxLength: 96, evalFraction: 0.1 }, ignore)).toEqual(summary);
    expect((await nextTab.storage()).datasets).toEqual([{ id: summary.id, name: 'rows.jsonl', bytes: new TextEncoder().encode(tinyDataset(24)).length }]);
  });

  it('counts anew under other options', async () => {
    const { id } = await studio.openDataset(text(tinyDataset(24)), model, {}, ignore);
    const cut = await studio.datasetSummary(id, model, { maxLength: 40 });
    expect(cut.tooLong).toBeGreaterThan(0);
    const all = await studio.datasetSummary(id, model, { trainOn: 'all', evalFraction: 0 });
    const replies = await studio.datasetSummary(id, model, { trainOn: 'replies', evalFraction: 0 });
    expect(all.tokens.trained).toBeGreaterThan(replies.tokens.trained);
    expect(all.evalRows).toBe(0);
  });

  it('shows what of a row is learned', async () => {
    const { id } = await studio.openDataset(text(tinyDataset(3)), model, {}, ignore);
    const preview = await studio.previewRow(id, model, 2, {});
    expect(preview.tokens.filter(({ trained }) => trained).map(({ text }) => text).join('')).toBe('It is odd 1.<|im_end|>');
    await expect(studio.previewRow(id, model, 99, {})).rejects.toThrow(/Row 99 of rows\.jsonl is not among its usable rows/);
  });

  it('names rows that cannot be used, and held-out rows that are trained on', async () => {
    const broken = '{"messages":[{"role":"user","content":"Nobody answers?"},{"role":"assistant","content":""}]}\n';
    const summary = await studio.openDataset(text(tinyDataset(2) + broken + tinyDataset(2)), model, { evalFraction: 0.25 }, ignore);
    expect(summary.usable).toBe(4);
    expect(summary.problems.find(({ severity }) => severity === 'block')?.rows).toEqual([3]);
    expect(summary.problems.find(({ message }) => /held out and also trained on/.test(message))?.rows).toEqual([1]);
  });

  it('does not keep a file that is no data set', async () => {
    await expect(studio.openDataset(text('{"a": 1}\n'), model, {}, ignore)).rejects.toThrow();
    expect((await studio.storage()).datasets).toEqual([]);
  });

  it('opens the data set that the page serves', async () => {
    profile.site.set('dataset.jsonl', () => new MemorySource(new TextEncoder().encode(tinyDataset(5)), 'dataset.jsonl'));
    expect((await studio.openDataset({ kind: 'demo' }, model, {}, ignore)).rows).toBe(5);
  });

  it('forecasts a run without a GPU, and refuses one past the context', async () => {
    const { id } = await studio.openDataset(text(tinyDataset(24)), model, { maxLength: 96 }, ignore);
    const recipe: RecipeInput = { model, dataset: { path: id }, lora: { r: 4 }, training: { max_length: 96, gradient_accumulation_steps: 1, packing: false, num_train_epochs: 3 } };
    const forecast = await studio.forecast(recipe);
    expect(forecast).toMatchObject({ steps: 63, verdict: 'fits', seconds: null });
    const wider = await studio.forecast({ ...recipe, lora: { r: 8 } });
    expect(wider.trainableParameters).toBe(2 * forecast.trainableParameters);
    expect(wider.memory.total).toBeGreaterThan(forecast.memory.total);
    await expect(studio.forecast({ ...recipe, training: { max_length: 500 } })).rejects.toThrow(/max_length is 500 and odd was made for 192/);
  });

  it('says what to do where there is no GPU to train on', async () => {
    expect(await studio.device()).toMatchObject({ status: 'unsupported', message: 'There is no GPU in this test.' });
    const { id } = await studio.openDataset(text(tinyDataset(24)), model, { maxLength: 96 }, ignore);
    await expect(studio.startRun({ model, dataset: { path: id }, training: { max_length: 96 } }, 'x', ignore)).rejects.toThrow('There is no GPU');
    expect(await studio.listRuns()).toEqual([]);
  });

  it('forgets everything when told to', async () => {
    await studio.openDataset(text(tinyDataset(4)), model, {}, ignore);
    await studio.deleteEverything();
    expect(await studio.storage()).toMatchObject({ models: [], datasets: [], runs: [] });
    expect(await studio.listModels()).toEqual([]);
  });
});
