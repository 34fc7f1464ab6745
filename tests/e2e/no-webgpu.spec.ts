import { expect, test } from '@playwright/test';
import { findChromium } from '../../scripts/chromium.mjs';
import { expectAccessible } from './studio';

const executablePath = await findChromium();

test.use({
  launchOptions: {
    ...(executablePath !== null && { executablePath }),
    args: ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-features=WebGPU,WebGPUService', '--disable-gpu'],
  },
});

test('a browser without WebGPU says so, says what to do, and still shows data', async ({ page }) => {
  await page.goto('/');
  await expect(page.getByText('Training cannot run here')).toBeVisible();
  await expect(page.getByText(/Turn on hardware acceleration|Use a current Chrome, Edge or Safari/)).toBeVisible();
  await expectAccessible(page, 'home without WebGPU');
  await page.getByRole('button', { name: 'New run' }).click();
  await page.getByRole('button', { name: 'Use the demo model' }).click();
  await page.getByRole('link', { name: 'Use this model' }).click();
  await page.getByRole('button', { name: 'Use sample data', exact: true }).click();
  await expect(page.getByText('What the model reads')).toBeVisible();
  await expect(page.getByRole('complementary', { name: 'Plan' }).getByRole('button', { name: 'Start training' })).toBeDisabled();
});
