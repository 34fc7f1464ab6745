import { gguf } from '@huggingface/gguf';
import { expect, test, type BrowserContext, type Page } from '@playwright/test';
import { unzipSync } from 'fflate';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { downloaded, collectErrors, expectAccessible, expectNoSidewaysScroll, goTo, goToStep, readMetrics, Traffic, waitForEnd, withoutSavePicker } from './studio';

/** The demo, from the first click to the files taken home: one run, looked at from all sides. */
test.describe.configure({ mode: 'serial' });

let context: BrowserContext;
let page: Page;
let traffic: Traffic;
let errors: string[];
let run = '';

test.beforeAll(async ({ browser, baseURL }) => {
  context = await browser.newContext({ acceptDownloads: true, baseURL: baseURL!, viewport: { width: 1280, height: 860 } });
  page = await context.newPage();
  traffic = new Traffic(page, new URL(baseURL!).origin);
  errors = collectErrors(page);
  await withoutSavePicker(page);
});

test.afterAll(async () => {
  await context.close();
});

test('one click trains the demo, the loss falls and the samples change', async () => {
  // Software GPUs on busy cores are slow; what is tested is that it happens, not how fast.
  test.setTimeout(900_000);
  await page.goto('/');
  await page.getByRole('button', { name: 'Try the demo' }).click();
  await page.waitForURL(/#\/run\/(?!new-)[^/]+\/train/, { timeout: 240_000 });
  run = /#\/run\/([^/]+)/.exec(page.url())![1]!;
  const frames = await page.evaluate(
    () =>
      new Promise<number[]>((resolve) => {
        const times: number[] = [];
        const note = (time: number) => {
          times.push(time);
          if (times.length <= 120) requestAnimationFrame(note);
          else resolve(times.slice(1).map((value, index) => value - times[index]!));
        };
        requestAnimationFrame(note);
      }),
  );
  const rate = 1000 / (frames.reduce((sum, value) => sum + value) / frames.length);
  test.info().annotations.push({ type: 'frames', description: `${rate.toFixed(1)} a second while training, longest ${Math.max(...frames).toFixed(0)} ms` });
  await waitForEnd(page);

  const losses = (await readMetrics(page)).map((line) => Number(line.loss));
  expect(losses.every(Number.isFinite)).toBe(true);
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value) / values.length;
  // A tenth at least: the demo's data set speaks in a way the demo model does not, so that its loss falls by far more.
  expect(mean(losses.slice(-8))).toBeLessThan(0.9 * mean(losses.slice(0, 8)));

  const answers = page.getByRole('region', { name: 'Samples' }).getByRole('figure');
  await expect(answers).toHaveCount(2);
  const [before, after] = await answers.getByRole('paragraph').allInnerTexts();
  expect(after).not.toBe(before);
});

test('the charts save as PNG and show as a table', async () => {
  const waiting = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save Loss as PNG' }).click();
  const bytes = await downloaded(await waiting);
  expect([...bytes.slice(1, 4)].map((code) => String.fromCharCode(code)).join('')).toBe('PNG');
  await page.getByLabel('As a table').check();
  await expect(page.getByRole('table')).toContainText('Evaluation');
  await page.getByLabel('As a table').uncheck();
});

test('base and adapter answer side by side, and differ', async () => {
  await goToStep(page, 'try');
  await page.getByLabel('Message').fill('Tell me a story about a cow.');
  await page.getByRole('button', { name: 'Send to both' }).click();
  const base = page.locator('[data-answer=base]');
  const tuned = page.locator('[data-answer=tuned]');
  await expect(page.getByRole('button', { name: 'New conversation' })).toBeVisible({ timeout: 280_000 });
  expect((await base.innerText()).length).toBeGreaterThan(0);
  expect((await tuned.innerText()).length).toBeGreaterThan(0);
  expect(await tuned.innerText()).not.toBe(await base.innerText());
});

test('Esc stops an answer and keeps its words', async () => {
  await page.getByRole('button', { name: 'New conversation' }).click();
  await page.getByText('Always the likeliest word').click();
  await page.getByLabel('Max tokens').fill('4096');
  await page.getByLabel('Temperature').fill('1.5');
  await page.getByLabel('Message').fill('Tell me a story about a cat.');
  await page.getByLabel('Message').press('Enter');
  await expect(page.locator('[data-answer=tuned]')).not.toHaveText('');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('button', { name: 'New conversation' })).toBeVisible();
  await expect(page.locator('[data-answer=tuned]')).not.toHaveText('');
});

/** Exports what is chosen on the Export step, and checks the file's name, size and checksum against what the page says. */
async function exportFile(destination: string, choose: () => Promise<void> = async () => {}): Promise<{ name: string; bytes: Uint8Array }> {
  await page.getByRole('radio', { name: new RegExp(`^${destination}`) }).check();
  await choose();
  const button = page.getByRole('region', { name: 'The file' }).getByRole('button', { name: 'Export' });
  await expect(button).toBeEnabled();
  const waiting = page.waitForEvent('download');
  await button.click();
  const download = await waiting;
  const bytes = await downloaded(download);
  const note = page.getByRole('status').filter({ hasText: 'Saved' });
  await expect(note).toContainText(download.suggestedFilename());
  await expect(note).toContainText(createHash('sha256').update(bytes).digest('hex'));
  return { name: download.suggestedFilename(), bytes };
}

/** Reads a GGUF with the independent reader. */
async function readGguf(name: string, bytes: Uint8Array) {
  const path = test.info().outputPath(name);
  await writeFile(path, bytes);
  return gguf(path, { allowLocalFile: true });
}

test('the adapter comes as a GGUF that an independent reader opens, with its Modelfile and command', async () => {
  await goToStep(page, 'export');
  const { name, bytes } = await exportFile('llama.cpp');
  const { metadata, tensorInfos } = await readGguf(name, bytes);
  const keys = metadata as Record<string, unknown>;
  expect(keys['general.type']).toBe('adapter');
  expect(keys['adapter.type']).toBe('lora');
  expect(tensorInfos.length).toBeGreaterThan(0);
  expect(tensorInfos.every((tensor) => /\.lora_[ab]$/.test(tensor.name))).toBe(true);

  const waiting = page.waitForEvent('download');
  await page.getByRole('button', { name: /^Save .*Modelfile$/ }).click();
  const modelfile = new TextDecoder().decode(await downloaded(await waiting));
  expect(modelfile).toContain('FROM ');
  expect(modelfile).toContain(`ADAPTER ./${name}`);
  await expect(page.getByText('ollama create')).toBeVisible();
});

test('Ollama gets a folder: the adapter, and a Modelfile that names it and its base', async () => {
  const { name, bytes } = await exportFile('Ollama');
  const files = unzipSync(bytes);
  const modelfile = new TextDecoder().decode(files['Modelfile']);
  const adapter = Object.keys(files).find((path) => path.endsWith('-lora.gguf'))!;
  expect(modelfile).toContain(`ADAPTER ./${adapter}`);
  expect(modelfile).toContain('FROM ./hone-demo.gguf');
  await expect(page.getByRole('region', { name: 'The file' })).toContainText('as the file hone-demo.gguf beside it');
  await expect(page.getByText(`unzip ${name}`)).toBeVisible();
  await expect(page.getByText('ollama create')).toBeVisible();
});

for (const type of ['Q8_0', 'Q4_K_M', 'Q4_0', 'F16', 'BF16', 'F32']) {
  test(`the merged model comes as a ${type} GGUF with tokenizer and template`, async () => {
    const { name, bytes } = await exportFile('LM Studio', async () => {
      await page.getByLabel('Precision').selectOption(type);
      await expect(page.getByRole('region', { name: 'The file' })).toContainText(type, { ignoreCase: true });
    });
    const { metadata, tensorInfos } = await readGguf(name, bytes);
    const keys = metadata as Record<string, unknown>;
    expect(keys['general.architecture']).toBe('llama');
    expect(keys['tokenizer.chat_template']).toBeTruthy();
    expect(tensorInfos.map((tensor) => tensor.name)).toContain('token_embd.weight');
    expect(tensorInfos.some((tensor) => tensor.name.includes('lora'))).toBe(false);
  });
}

test('PEFT comes as a zip with a safetensors file, its config and a model card', async () => {
  const { bytes } = await exportFile('Python');
  const files = Object.entries(unzipSync(bytes)).map(([path, content]) => ({ name: path.split('/').at(-1)!, content }));
  const file = (name: string) => files.find((entry) => entry.name === name)!.content;
  const config = JSON.parse(new TextDecoder().decode(file('adapter_config.json'))) as { peft_type: string; r: number };
  expect(config.peft_type).toBe('LORA');
  expect(new TextDecoder().decode(file('README.md'))).toContain('base_model');

  const tensors = file('adapter_model.safetensors');
  const view = new DataView(tensors.buffer, tensors.byteOffset, tensors.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(tensors.subarray(8, 8 + length))) as Record<string, { shape: number[]; data_offsets: [number, number] }>;
  const entries = Object.entries(header).filter(([key]) => key !== '__metadata__');
  expect(entries.every(([key]) => /^base_model\.model\..*\.lora_[AB]\.weight$/.test(key))).toBe(true);
  expect(entries.find(([key]) => key.endsWith('lora_A.weight'))![1].shape[0]).toBe(config.r);
  expect(8 + length + Math.max(...entries.map(([, entry]) => entry.data_offsets[1]))).toBe(tensors.byteLength);
});

test('the run survives a reload with its curve and its samples', async () => {
  await page.goto('/');
  await expect(page.getByRole('link', { name: 'Demo' })).toBeVisible();
  await goTo(page, `#/run/${run}/train`);
  await waitForEnd(page);
  expect((await readMetrics(page)).length).toBeGreaterThan(20);
  await expect(page.getByRole('region', { name: 'Samples' }).getByRole('figure')).toHaveCount(2);
});

test('every screen of a finished run is accessible, light and dark, at 360 and 1280 pixels', async () => {
  for (const [width, scheme] of [
    [1280, 'light'],
    [360, 'dark'],
  ] as const) {
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme: scheme });
    for (const step of ['model', 'data', 'settings', 'train', 'try', 'export']) {
      await goTo(page, `#/run/${run}/${step}`);
      await expect(page.locator('h1')).toBeVisible();
      await expectAccessible(page, `${step} at ${width}, ${scheme}`);
      await expectNoSidewaysScroll(page, `${step} at ${width}`);
    }
    await goTo(page, '#/library/runs');
    await expectAccessible(page, `library at ${width}, ${scheme}`);
    await expectNoSidewaysScroll(page, `library at ${width}`);
  }
});

test('nothing was asked of another origin, and nothing was written to the console as an error', () => {
  expect(traffic.foreign).toEqual([]);
  expect(errors).toEqual([]);
});

test('delete everything leaves nothing', async () => {
  await page.setViewportSize({ width: 1280, height: 800 });
  await goTo(page, '#/privacy');
  await page.getByRole('button', { name: 'Delete everything…' }).click();
  await page.getByLabel('Type DELETE to go on').fill('DELETE');
  await page.getByRole('button', { name: 'Delete everything', exact: true }).click();
  await expect(page.getByText('Nothing is left.')).toBeVisible();
  await page.goto('/');
  await expect(page.getByRole('button', { name: 'Try the demo' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'Demo', exact: true })).toHaveCount(0);
});
