import AxeBuilder from '@axe-core/playwright';
import { expect, type Download, type Page } from '@playwright/test';
import { readFile } from 'node:fs/promises';

/** What the page asked the network for, to see that nothing leaves its own origin. */
export class Traffic {
  readonly foreign: string[] = [];

  constructor(
    page: Page,
    private readonly origin: string,
  ) {
    page.context().on('request', (request) => this.note(request.url()));
  }

  private note(url: string): void {
    const { origin, protocol } = new URL(url);
    if (protocol !== 'blob:' && protocol !== 'data:' && protocol !== 'chrome-error:' && origin !== this.origin) this.foreign.push(url);
  }
}

/** Errors that the page wrote to its console or threw; a working page has none. */
export function collectErrors(page: Page): string[] {
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  return errors;
}

/** A browser without a file chooser for saving: exports come as downloads, which a test can read. */
export async function withoutSavePicker(page: Page): Promise<void> {
  await page.addInitScript(() => Reflect.deleteProperty(window, 'showSaveFilePicker'));
}

/** Goes to a screen by its hash without loading the page again. */
export async function goTo(page: Page, hash: string): Promise<void> {
  await page.evaluate((to) => {
    location.hash = to;
  }, hash);
}

/** Goes to a step of the run on screen. */
export async function goToStep(page: Page, step: string): Promise<void> {
  const id = /#\/run\/([^/]+)/.exec(page.url())![1]!;
  await goTo(page, `#/run/${id}/${step}`);
  await expect(page.locator('h1')).toBeVisible();
}

/** Drafts a run on the demo model and the sample data with settings given as JSON; ends on its Settings screen. */
export async function draftRun(page: Page, name: string, settings: object): Promise<void> {
  await goTo(page, '#/');
  await page.getByRole('button', { name: 'New run' }).click();
  await page.getByRole('textbox', { name: 'Run name' }).fill(name);
  await page.getByRole('button', { name: 'Use the demo model' }).click();
  await page.getByRole('link', { name: 'Use this model' }).click();
  await page.getByRole('button', { name: 'Use sample data', exact: true }).click();
  await page.getByRole('link', { name: 'Use this data' }).click();
  await page.getByText('All settings').click();
  await page.getByLabel('Paste settings here to use them').fill(JSON.stringify(settings));
  await page.getByRole('button', { name: 'Use these settings' }).click();
}

/** Starts a drafted run, and waits for its Train screen. */
export async function startRun(page: Page, name: string, settings: object): Promise<void> {
  await draftRun(page, name, settings);
  await page.getByRole('complementary', { name: 'Plan' }).getByRole('button', { name: 'Start training' }).click();
  await page.waitForURL(/#\/run\/(?!new-)[^/]+\/train/, { timeout: 240_000 });
}

/** Waits until the run on screen is done. */
export async function waitForEnd(page: Page): Promise<void> {
  await expect(page.getByText('Done.', { exact: true })).toBeVisible({ timeout: 600_000 });
}

export async function downloaded(download: Download): Promise<Uint8Array> {
  return new Uint8Array(await readFile(await download.path()));
}

/** The run's metrics as saved from its charts: a record a step, every value as the text in the file. */
export async function readMetrics(page: Page): Promise<Record<string, string>[]> {
  const waiting = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save CSV' }).click();
  const text = new TextDecoder().decode(await downloaded(await waiting));
  const [head, ...lines] = text.trim().split('\n').map((line) => line.split(','));
  return lines.map((cells) => Object.fromEntries(head!.map((key, index) => [key, cells[index]!])));
}

/** axe's rules on the screen as it is; the list of violations is what a failure shows. */
export async function expectAccessible(page: Page, screen: string): Promise<void> {
  // A button on its way from one colour to another has neither's contrast.
  await page.emulateMedia({ reducedMotion: 'reduce' });
  const { violations } = await new AxeBuilder({ page }).analyze();
  const found = violations.map(({ id, nodes }) => `${screen}: ${id}: ${nodes[0]?.html.slice(0, 160)}`);
  expect(found).toEqual([]);
}

/** The page never scrolls sideways. */
export async function expectNoSidewaysScroll(page: Page, screen: string): Promise<void> {
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(excess, `${screen} is wider than the window`).toBeLessThanOrEqual(0);
}
