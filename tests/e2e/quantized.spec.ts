import { expect, test, type BrowserContext, type Page } from '@playwright/test';
import { createHash } from 'node:crypto';
import { collectErrors, downloaded, draftRun, expectAccessible, expectNoSidewaysScroll, goTo, goToStep, waitForEnd, withoutSavePicker } from './studio';
import type { Certificate } from '../../src/workers/api';

/** A run over a base in 4 bits, from its choice to certified files. */
test.describe.configure({ mode: 'serial' });

let context: BrowserContext;
let page: Page;
let errors: string[];
/** The certificate of the merged file, as the page saved it. */
let saved: Certificate;
const SETTINGS = { training: { max_steps: 6, learning_rate: 2e-3, max_length: 128, gradient_accumulation_steps: 1, eval_steps: 3, save_steps: 3 }, sample_prompts: ['Hi?'] };

test.beforeAll(async ({ browser, baseURL }) => {
  context = await browser.newContext({ acceptDownloads: true, baseURL: baseURL!, viewport: { width: 1280, height: 860 } });
  page = await context.newPage();
  errors = collectErrors(page);
  await withoutSavePicker(page);
});

test.afterAll(async () => {
  await context.close();
});

const file = () => page.getByRole('region', { name: 'The file' });
const certificate = () => page.getByRole('region', { name: 'Certificate' });

test('the base is chosen in 4 bits, and what that costs is measured on the rows before anything is trained', async () => {
  await page.goto('/');
  await draftRun(page, 'Four bits', SETTINGS);
  const plan = page.getByRole('complementary', { name: 'Plan' });
  await expect(plan).not.toContainText('held in');
  await page.getByRole('radio', { name: '4 bits' }).check();
  await expect(plan).toContainText('held in 4 bits');
  await expect(page.getByRole('radio', { name: 'As it is' }).locator('../..')).toContainText(/Run needs [\d.]+ [kM]B/);
  await page.getByRole('button', { name: 'Measure on my rows' }).click();
  await expect(page.getByRole('main').getByText(/The 4-bit model picks the same next word as the original at \d+(\.\d)?% of \d+ places/)).toBeVisible({ timeout: 120_000 });
  await expectAccessible(page, 'settings with a measured base');
});

test('the run measures the same by itself and keeps it', async () => {
  const before = /at ([\d.]+% of \d+ places in your rows \(mean KL [\d.e-]+\))/.exec(await page.getByRole('main').getByText('The 4-bit model picks').innerText())![1]!;
  await page.getByRole('complementary', { name: 'Plan' }).getByRole('button', { name: 'Start training' }).click();
  await page.waitForURL(/#\/run\/(?!new-)[^/]+\/train/, { timeout: 240_000 });
  await waitForEnd(page);
  await expect(page.getByRole('main').getByText('The 4-bit model picks')).toContainText(before);
  await page.reload();
  await expect(page.getByRole('main').getByText('The 4-bit model picks')).toContainText(before);
  await goToStep(page, 'settings');
  await expect(page.getByRole('main')).toContainText(before);
});

test('a merged file comes with a certificate in words, in numbers and as JSON that names its bytes', async () => {
  await goToStep(page, 'export');
  await page.getByRole('radio', { name: /^llama\.cpp/ }).check();
  await page.getByRole('radio', { name: /^Whole model/ }).check();
  await page.getByLabel('Precision').selectOption('Q8_0');
  const waiting = page.waitForEvent('download');
  await file().getByRole('button', { name: 'Export' }).click();
  const download = await waiting;
  const bytes = await downloaded(download);
  await expect(certificate()).toContainText('trained over a base rounded to Q4_0');
  await certificate().getByText('The numbers').click();
  await expect(certificate().getByRole('row', { name: /storing it as Q8_0/ })).toContainText('%');
  await expect(certificate()).toContainText('29 tensors read again');

  const saving = page.waitForEvent('download');
  await certificate().getByRole('button', { name: 'Save certificate' }).click();
  const savedFile = await saving;
  expect(savedFile.suggestedFilename()).toBe(download.suggestedFilename().replace('.gguf', '.certificate.json'));
  const json = JSON.parse(new TextDecoder().decode(await downloaded(savedFile))) as Certificate;
  saved = json;
  expect(json.files).toEqual([{ name: download.suggestedFilename(), bytes: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') }]);
  expect(json.answers!.rounding!.mean_kl).toBeLessThan(json.answers!.limit);
  expect([json.base.sha256, json.dataset!.sha256, json.recipe_sha256].every((hash) => /^[0-9a-f]{64}$/.test(hash!))).toBe(true);
});

test('a file that is not what was written is not saved, and a second try may succeed', async () => {
  await page.getByRole('radio', { name: /^Python/ }).check();
  await expect(file()).toContainText('peft.zip');
  // A disk that changes one byte, once.
  await page.workers()[0]!.evaluate(() => {
    const { prototype } = (globalThis as unknown as { FileSystemSyncAccessHandle: { prototype: { write: (bytes: Uint8Array, options: object) => number } } }).FileSystemSyncAccessHandle;
    const { write } = prototype;
    prototype.write = function (bytes, options) {
      if (bytes.length < 1000) return write.call(this, bytes, options);
      prototype.write = write;
      const changed = bytes.slice();
      changed[500]! ^= 1;
      return write.call(this, changed, options);
    };
  });
  await file().getByRole('button', { name: 'Export' }).click();
  const note = file().getByRole('alert');
  await expect(note).toContainText('Nothing was saved.');
  await expect(note).toContainText('does not hold the bytes that were written to it');
  await expect(certificate()).toHaveCount(0);

  const waiting = page.waitForEvent('download');
  await note.getByRole('button', { name: 'Try again' }).click();
  expect((await waiting).suggestedFilename()).toMatch(/-peft\.zip$/);
  await expect(certificate()).toContainText('The file gives the same answers as the model you trained.');
});

test('a certificate is accessible, light and dark, at 360 and 1280 pixels', async () => {
  await certificate().getByText('The numbers').click();
  for (const [width, scheme] of [
    [1280, 'dark'],
    [360, 'light'],
  ] as const) {
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme: scheme });
    await expectAccessible(page, `certificate at ${width}, ${scheme}`);
    await expectNoSidewaysScroll(page, `certificate at ${width}`);
  }
});

test('certificates stay with the run: the Library names the newest, and Export saves each again', async () => {
  await page.reload();
  const before = page.getByRole('region', { name: 'Exported before' });
  await expect(before.getByRole('listitem')).toHaveCount(2);
  await expectNoSidewaysScroll(page, 'earlier certificates');
  const waiting = page.waitForEvent('download');
  await before.getByRole('button', { name: /^Save certificate of .*Q8_0\.gguf$/ }).click();
  expect(JSON.parse(new TextDecoder().decode(await downloaded(await waiting)))).toEqual(saved);
  await goTo(page, '#/library/runs');
  await expect(page.getByRole('row', { name: /Four bits/ })).toContainText(/Certified: PEFT adapter, .* and 1 other/);
  await goTo(page, '#/library/adapters');
  await expect(page.getByRole('listitem').filter({ hasText: 'Four bits' })).toContainText('Certified: PEFT adapter');
  await expectAccessible(page, 'adapters with certificates');
  await page.getByRole('button', { name: 'Rename Four bits' }).click();
  await expectAccessible(page, 'an adapter being renamed');
  await page.getByRole('dialog').getByLabel('Name').fill('Four bits, tried');
  await page.getByRole('dialog').getByRole('button', { name: 'Rename', exact: true }).click();
  await page.getByRole('link', { name: 'Runs' }).click();
  await expect(page.getByRole('link', { name: 'Four bits, tried' })).toBeVisible();
  await expectNoSidewaysScroll(page, 'runs with certificates');
  expect(errors).toEqual([]);
});
