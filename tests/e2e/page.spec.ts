import { expect, test } from '@playwright/test';
import { collectErrors, expectAccessible, expectNoSidewaysScroll, goTo, Traffic } from './studio';

for (const [width, scheme] of [
  [360, 'light'],
  [360, 'dark'],
  [1280, 'light'],
  [1280, 'dark'],
] as const) {
  test(`every screen before training is accessible at ${width} pixels, ${scheme}`, async ({ page, baseURL }) => {
    const traffic = new Traffic(page, new URL(baseURL!).origin);
    const errors = collectErrors(page);
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto('/');
    const check = async (screen: string) => {
      await expect(page.locator('h1')).toBeVisible();
      await expectAccessible(page, screen);
      await expectNoSidewaysScroll(page, screen);
    };
    await check('home');
    for (const hash of ['#/library/runs', '#/library/adapters', '#/library/models', '#/library/datasets', '#/diagnostics', '#/privacy', '#/compare', '#/new?v=1&base=owner/model&rank=32', '#/run/unknown/train', '#/nowhere']) {
      await goTo(page, hash);
      await check(hash);
    }
    await goTo(page, '#/');
    await page.getByRole('button', { name: 'New run' }).click();
    await check('model');
    await page.getByRole('button', { name: 'Use the demo model' }).click();
    await expect(page.getByRole('link', { name: 'Use this model' })).toBeVisible();
    await check('model chosen');
    await page.getByRole('link', { name: 'Use this model' }).click();
    await check('data');
    await page.getByRole('button', { name: 'Use sample data', exact: true }).click();
    await expect(page.getByText('What the model reads')).toBeVisible();
    await check('data chosen');
    await page.getByRole('link', { name: 'Use this data' }).click();
    await page.getByText('All settings').click();
    await check('settings');
    await page.keyboard.press('Tab');
    await page.locator('h1').click();
    await page.keyboard.press('?');
    await expect(page.getByRole('dialog', { name: 'Keys' })).toBeVisible();
    await check('keys');
    expect(traffic.foreign).toEqual([]);
    expect(errors).toEqual([]);
  });
}

test('a draft survives a reload, with its model, its data and its settings', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('button', { name: 'New run' }).click();
  await page.getByRole('button', { name: 'Use the demo model' }).click();
  await page.getByRole('link', { name: 'Use this model' }).click();
  await page.getByRole('button', { name: 'Use sample data', exact: true }).click();
  await page.getByRole('link', { name: 'Use this data' }).click();
  await page.getByLabel('Adapter size (rank)').first().fill('24');
  await page.keyboard.press('Tab');
  await page.reload();
  await expect(page.getByLabel('Adapter size (rank)').first()).toHaveValue('24');
  await expect(page.getByRole('complementary', { name: 'Plan' }).getByRole('button', { name: 'Start training' })).toBeEnabled();
});

test('the trained tokens of a row can be told apart without colour', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('button', { name: 'New run' }).click();
  await page.getByRole('button', { name: 'Use the demo model' }).click();
  await page.getByRole('link', { name: 'Use this model' }).click();
  await page.getByLabel('Or paste rows').fill('{"prompt": "Say hello.", "completion": "Ahoy, matey!"}\n{"prompt": "Say bye.", "completion": "Farewell, matey!"}');
  await page.getByRole('button', { name: 'Use pasted rows' }).click();
  const row = page.getByRole('group', { name: 'Row 1 as the model reads it' });
  const trained = row.locator('.trained').filter({ hasText: 'Ahoy, matey!' });
  await expect(trained).toHaveCount(1);
  await expect(trained).toHaveCSS('text-decoration-line', 'underline');
  await expect(row.locator('span:not(.trained)').filter({ hasText: 'Say hello.' })).toHaveCount(1);
});

test('a file that is no model gets one sentence, and the choice stays open', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('button', { name: 'New run' }).click();
  await page.locator('input[type=file][accept*=".gguf"]').setInputFiles({ name: 'broken.gguf', mimeType: 'application/octet-stream', buffer: Buffer.from('GGUF but not really') });
  await expect(page.getByRole('alert')).toContainText('broken.gguf');
  await expect(page.getByRole('button', { name: 'Use the demo model' })).toBeEnabled();
});

test('rows in no known format get one sentence', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('button', { name: 'New run' }).click();
  await page.getByRole('button', { name: 'Use the demo model' }).click();
  await page.getByRole('link', { name: 'Use this model' }).click();
  await page.getByLabel('Or paste rows').fill('{"colour": "red"}\n{"colour": "blue"}');
  await page.getByRole('button', { name: 'Use pasted rows' }).click();
  await expect(page.getByRole('alert')).toBeVisible();
  await expect(page.getByRole('complementary', { name: 'Plan' }).getByRole('button', { name: 'Start training' })).toBeDisabled();
});

test('the page and its workers can reach no foreign server', async ({ page }) => {
  await page.goto('/');
  const outcomes = await page.evaluate(async () => {
    const inPage = await fetch('https://example.org/').then(() => 'reached', () => 'refused');
    const source = `fetch('https://example.org/').then(() => 'reached', () => 'refused').then((text) => postMessage(text))`;
    const worker = new Worker(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
    const inWorker = await new Promise((resolve) => worker.addEventListener('message', (event) => resolve(event.data), { once: true }));
    const violations = await new Promise<number>((resolve) => {
      let count = 0;
      document.addEventListener('securitypolicyviolation', () => (count += 1));
      void fetch('https://example.org/again').catch(() => undefined).then(() => setTimeout(() => resolve(count), 50));
    });
    return { inPage, inWorker, violations };
  });
  // A refused policy, not a missing network: the browser reports the violation.
  expect(outcomes).toEqual({ inPage: 'refused', inWorker: 'refused', violations: 1 });
});
