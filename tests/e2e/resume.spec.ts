import { expect, test } from '@playwright/test';
import { goTo, readMetrics, startRun, waitForEnd } from './studio';

const STEPS = 30;
const SETTINGS = {
  dataset: { eval_fraction: 0.03 },
  lora: { r: 4, lora_alpha: 8, lora_dropout: 0.1 },
  training: { learning_rate: 1e-3, max_steps: STEPS, max_length: 64, gradient_accumulation_steps: 1, save_steps: 6, eval_steps: 10, sample_steps: STEPS, packing: false, seed: 7 },
};

// Software GPUs on busy cores are slow; what is tested is that it happens, not how fast.
test.describe.configure({ timeout: 900_000 });

test('a killed tab resumes from its checkpoint, with the losses of a run that was never stopped', async ({ context, page }) => {
  await page.goto('/');
  await startRun(page, 'whole', SETTINGS);
  await waitForEnd(page);
  const whole = await readMetrics(page);
  expect(whole.length).toBe(STEPS);

  await startRun(page, 'killed', SETTINGS);
  // Past the second checkpoint, so that there is something to lose and something to come back to.
  await expect(page.getByText(/^step (1[3-9]|2\d) of /)).toBeVisible({ timeout: 400_000 });
  const address = page.url();
  const crashed = page.waitForEvent('crash');
  await page.goto('chrome://crash').catch(() => undefined);
  await crashed;
  await page.close();

  const next = await context.newPage();
  await next.goto('/');
  const card = next.getByRole('region', { name: 'Resume' });
  await expect(card).toContainText('when the page closed');
  await goTo(next, new URL(address).hash);
  await next.getByRole('button', { name: /^Resume from \d+$/ }).click();
  await waitForEnd(next);
  const resumed = await readMetrics(next);

  const exact = (lines: Record<string, string>[]) => lines.map(({ step, loss, grad_norm, learning_rate, eval_loss }) => ({ step, loss, grad_norm, learning_rate, eval_loss }));
  // Text for text: the numbers are written with all their digits, so equal text is equal bits.
  expect(exact(resumed)).toEqual(exact(whole));
});

test('pause, then resume, goes on where it stood', async ({ page }) => {
  await page.goto('/');
  await startRun(page, 'paused', SETTINGS);
  await expect(page.getByText(/^step ([5-9]|1\d|2\d) of /)).toBeVisible({ timeout: 400_000 });
  await page.getByRole('button', { name: 'Pause' }).click();
  await expect(page.getByText(/^Paused at step/)).toBeVisible();
  await page.getByRole('button', { name: 'Resume', exact: true }).click();
  await waitForEnd(page);
  expect((await readMetrics(page)).map((line) => Number(line.step))).toEqual(Array.from({ length: STEPS }, (_, index) => index + 1));
});

test('stopping asks what to keep, and a kept step can be tried', async ({ page }) => {
  await page.goto('/');
  await startRun(page, 'stopped', SETTINGS);
  await expect(page.getByText(/^step ([3-9]|1\d|2\d) of /)).toBeVisible({ timeout: 400_000 });
  await page.getByRole('button', { name: 'Stop…' }).click();
  await page.getByRole('button', { name: /^Keep step/ }).click();
  await expect(page.getByText(/^Stopped at step \d+\. Saved up to \d+/)).toBeVisible();
  await page.getByRole('link', { name: /Try/ }).first().click();
  await expect(page.getByRole('region', { name: /adapter off/ })).toBeVisible();
  await expect(page.getByRole('region', { name: /^stopped, step/ })).toBeVisible();
});
