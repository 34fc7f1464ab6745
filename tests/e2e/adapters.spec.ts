import { gguf } from '@huggingface/gguf';
import { expect, test, type BrowserContext, type Page } from '@playwright/test';
import { unzipSync } from 'fflate';
import { readFile, writeFile } from 'node:fs/promises';
import type { Adapter } from '../../src/core/adapter';
import { MemorySink } from '../../src/core/bytes';
import type { ModelConfig } from '../../src/core/model';
import { peftFiles } from '../../src/exports/peft';
import { readConfig } from '../../src/safetensors/config';
import { ConfigFile } from '../../src/safetensors/json';
import { randomAdapter } from '../fixtures';
import { collectErrors, downloaded, expectAccessible, expectNoSidewaysScroll, goTo, goToStep, startRun, waitForEnd, withoutSavePicker } from './studio';

/** A run's adapter and imported ones: kept, tried together, merged, taken out, trained further. */
test.describe.configure({ mode: 'serial' });

const QUESTION = 'Tell me a story about a cow.';
let context: BrowserContext;
let page: Page;
let errors: string[];

test.beforeAll(async ({ browser, baseURL }) => {
  context = await browser.newContext({ acceptDownloads: true, baseURL: baseURL!, viewport: { width: 1280, height: 860 } });
  page = await context.newPage();
  errors = collectErrors(page);
  await withoutSavePicker(page);
});

test.afterAll(async () => {
  await context.close();
});

type Upload = { name: string; mimeType: string; buffer: Buffer };

/** The files of a PEFT folder, as a person would choose them. */
async function peftFolder(adapter: Adapter): Promise<Upload[]> {
  const uploads: Upload[] = [];
  for (const { name, write } of peftFiles({ adapter, card: { name: 'x', baseModel: 'someone/demo', facts: [] } })) {
    const sink = new MemorySink();
    await write(sink);
    uploads.push({ name, mimeType: 'application/octet-stream', buffer: Buffer.from(sink.bytes()) });
  }
  return uploads;
}

async function demoConfig(): Promise<ModelConfig> {
  const json = JSON.parse(await readFile('public/demo/config.json', 'utf8')) as ConstructorParameters<typeof ConfigFile>[1];
  return readConfig(new ConfigFile('config.json', json), null, false);
}

async function openAdapters(): Promise<void> {
  await goTo(page, '#/library/adapters');
  await expect(page.getByRole('heading', { name: 'Import an adapter' })).toBeVisible();
}

async function importAs(name: string, files: Upload[]): Promise<void> {
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.locator('input[type=file][accept*=".safetensors"]').setInputFiles(files);
}

/** Asks anew and gives both answers. */
async function ask(): Promise<{ base: string; tuned: string }> {
  const again = page.getByRole('button', { name: 'New conversation' });
  if (await again.isVisible()) await again.click();
  await page.getByLabel('Message').fill(QUESTION);
  await page.getByRole('button', { name: 'Send to both' }).click();
  await expect(again).toBeVisible({ timeout: 280_000 });
  return { base: await page.locator('[data-answer=base]').innerText(), tuned: await page.locator('[data-answer=tuned]').innerText() };
}

test('an imported adapter is kept beside those of runs, and a foreign one is refused by its first tensor', async () => {
  // Software GPUs on busy cores are slow; what is tested is that it happens, not how fast.
  test.setTimeout(900_000);
  await page.goto('/');
  const training = { learning_rate: 2e-3, max_steps: 24, max_length: 96, gradient_accumulation_steps: 1, eval_steps: 24, save_steps: 24, sample_steps: 24 };
  await startRun(page, 'pirate', { dataset: { eval_fraction: 0.03 }, lora: { r: 4, lora_alpha: 8 }, training });
  await waitForEnd(page);
  const config = await demoConfig();
  await openAdapters();
  await expect(page.getByRole('link', { name: 'Try pirate' })).toBeVisible();
  await importAs('Loud', await peftFolder(randomAdapter(config, { r: 3, strength: 0.3 })));
  await expect(page.getByText('Loud fits hone-demo and is kept in this browser.')).toBeVisible();
  await importAs('Rows', await peftFolder(randomAdapter(config, { r: 2, seed: 5, use_dora: true })));
  await expect(page.getByText('Rows fits hone-demo')).toBeVisible();
  await importAs('Foreign', await peftFolder(randomAdapter({ ...config, intermediate_size: config.intermediate_size + 8 })));
  await expect(page.getByRole('alert')).toContainText(/layers\.0\.mlp\.gate_proj\.lora_B\.weight has the shape 232 × 5, and the model asks for 224 × 5/);
  await page.reload();
  await expect(page.getByRole('link', { name: 'Try Loud' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'Try Foreign' })).toHaveCount(0);
});

test('the adapter is switched and scaled, others join it, and Base answers the same throughout', async () => {
  await page.getByRole('link', { name: 'Try pirate' }).click();
  const full = await ask();
  expect(full.tuned).not.toBe(full.base);
  await page.getByLabel('Strength of pirate, as a number').fill('0');
  await page.keyboard.press('Tab');
  await expect(page.getByRole('region', { name: /^pirate, step/ })).toContainText('switched off: answers as Base');
  expect(await ask()).toEqual({ base: full.base, tuned: full.base });
  await page.getByLabel('Strength of pirate', { exact: true }).fill('1');
  expect(await ask()).toEqual(full);
  await page.getByLabel('Add another').selectOption({ label: 'Loud' });
  const both = await ask();
  expect(both.base).toBe(full.base);
  expect(both.tuned).not.toBe(full.tuned);
  await page.getByRole('switch', { name: 'Loud' }).uncheck();
  expect(await ask()).toEqual(full);
  await expectAccessible(page, 'try with two adapters');
});

test('two adapters merge into a third that is tried and taken out, and a DoRA is refused in words', async () => {
  await openAdapters();
  await page.getByLabel('Choose Rows').check();
  await page.getByLabel('Choose Loud').check();
  await expect(page.getByText('Rows is of the DoRA kind')).toBeVisible();
  await page.getByLabel('Choose Rows').uncheck();
  await page.getByLabel('Choose pirate').check();
  await page.getByRole('button', { name: 'Merge 2 adapters…' }).click();
  await page.getByLabel('Weight of pirate').fill('1');
  await page.getByLabel('Weight of Loud').fill('0.25');
  await page.getByLabel('Name of the new adapter').fill('Loud pirate');
  await expectAccessible(page, 'merging');
  await page.getByRole('button', { name: 'Merge', exact: true }).click();
  await expect(page.getByText(/merged: (1 × pirate \+ 0\.25 × Loud|0\.25 × Loud \+ 1 × pirate)/)).toBeVisible();

  const save = async (form: string) => {
    const waiting = page.waitForEvent('download', { timeout: 240_000 });
    await dialog.getByRole('button', { name: form }).click();
    const download = await waiting;
    await expect(dialog.getByRole('heading', { name: 'Certificate' })).toBeVisible();
    return { name: download.suggestedFilename(), bytes: await downloaded(download) };
  };
  await page.getByRole('button', { name: 'Save Loud pirate' }).click();
  const dialog = page.getByRole('dialog', { name: 'Save Loud pirate' });
  const zip = await save('Save for Python');
  const names = Object.keys(unzipSync(zip.bytes)).map((path) => path.split('/').at(-1));
  expect(names).toEqual(expect.arrayContaining(['README.md', 'adapter_config.json', 'adapter_model.safetensors']));
  const file = await save('Save as GGUF');
  await expectAccessible(page, 'an adapter saved');
  await dialog.getByRole('button', { name: 'Close' }).click();
  const path = test.info().outputPath(file.name);
  await writeFile(path, file.bytes);
  const { metadata } = await gguf(path, { allowLocalFile: true });
  expect((metadata as Record<string, unknown>)['general.type']).toBe('adapter');

  await page.getByRole('link', { name: 'Try Loud pirate' }).click();
  const { base, tuned } = await ask();
  expect(tuned).not.toBe(base);
  await page.reload();
  await expect(page.getByRole('switch', { name: 'Loud pirate' })).toBeChecked();
});

test('a run starts from a kept adapter with its settings, and says where the two disagree', async () => {
  test.setTimeout(900_000);
  await openAdapters();
  await page.getByRole('button', { name: 'Train Loud pirate further' }).click();
  await expect(page.getByLabel('Start from')).toHaveValue(/^adapter:/);
  await page.getByRole('link', { name: 'Use this model' }).click();
  await page.getByRole('button', { name: 'Use sample data', exact: true }).click();
  await page.getByRole('link', { name: 'Use this data' }).click();
  const size = page.getByLabel('Adapter size (rank)').first();
  await expect(size).toHaveValue('7');
  await size.fill('24');
  await page.keyboard.press('Tab');
  const plan = page.getByRole('complementary', { name: 'Plan' });
  await expect(plan.getByText('Loud pirate has the size 7, and the settings ask for 24.')).toBeVisible();
  await expect(plan.getByRole('button', { name: 'Start training' })).toBeDisabled();
  await goToStep(page, 'model');
  await page.getByRole('button', { name: "Use the adapter's settings" }).click();
  await goToStep(page, 'settings');
  await expect(size).toHaveValue('7');
  await page.getByRole('radio', { name: /Quick/ }).check();
  // A preset changes how it is trained, not what it starts from.
  await expect(size).toHaveValue('7');
  await page.getByText('All settings').click();
  await page.getByLabel('Paste settings here to use them').fill(JSON.stringify({ training: { max_steps: 3, max_length: 64, gradient_accumulation_steps: 1 }, dataset: { eval_fraction: 0 } }));
  await page.getByRole('button', { name: 'Use these settings' }).click();
  await plan.getByRole('button', { name: 'Start training' }).click();
  await page.waitForURL(/#\/run\/(?!new-)[^/]+\/train/, { timeout: 240_000 });
  await waitForEnd(page);
  await goToStep(page, 'model');
  await expect(page.getByRole('definition').filter({ hasText: 'Loud pirate' })).toBeVisible();
});

test('the shelf of adapters is accessible, light and dark, at 360 and 1280 pixels, and forgets what is deleted', async () => {
  for (const [width, scheme] of [
    [1280, 'light'],
    [360, 'dark'],
  ] as const) {
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme: scheme });
    await openAdapters();
    await expectAccessible(page, `adapters at ${width}, ${scheme}`);
    await expectNoSidewaysScroll(page, `adapters at ${width}`);
    await page.getByRole('link', { name: 'Try Loud', exact: true }).click();
    await expect(page.getByRole('heading', { name: 'Adapters at work' })).toBeVisible();
    await expectAccessible(page, `trying an adapter at ${width}, ${scheme}`);
    await expectNoSidewaysScroll(page, `trying an adapter at ${width}`);
  }
  await openAdapters();
  await page.getByRole('button', { name: 'Rename Loud', exact: true }).click();
  await page.getByRole('dialog').getByLabel('Name').fill('Quiet');
  await page.getByRole('dialog').getByRole('button', { name: 'Rename', exact: true }).click();
  await page.getByRole('button', { name: 'Delete Quiet', exact: true }).click();
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(page.getByRole('link', { name: 'Try Quiet', exact: true })).toHaveCount(0);
  await expect(page.getByRole('link', { name: 'Try Loud pirate', exact: true })).toBeVisible();
  expect(errors).toEqual([]);
});
