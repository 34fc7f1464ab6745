import { defineConfig } from '@playwright/test';
import { findChromium } from './scripts/chromium.mjs';

const port = 4199;
const executablePath = await findChromium();
if (executablePath === null) {
  throw new Error('No Chromium was found; run "npx playwright install chromium", or name one with HONE_CHROMIUM=/path/to/chromium.');
}

export default defineConfig({
  testDir: 'tests/e2e',
  testMatch: '**/*.spec.ts',
  outputDir: 'test-results',
  // One browser at a time: two software GPUs on the same cores would only slow each other down.
  workers: 1,
  fullyParallel: false,
  timeout: 300_000,
  expect: { timeout: 30_000 },
  forbidOnly: true,
  reporter: [['list'], ['json', { outputFile: 'build/test/e2e.json' }]],
  use: {
    baseURL: `http://127.0.0.1:${port}/`,
    acceptDownloads: true,
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath,
      args: [
        '--enable-unsafe-webgpu',
        // The browser's own software renderer: the same adapter on every machine, with or without a GPU.
        '--use-webgpu-adapter=swiftshader',
        '--no-sandbox',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
  },
  webServer: {
    command: `node scripts/start.mjs --port ${port}`,
    url: `http://127.0.0.1:${port}/`,
    reuseExistingServer: false,
    // Installs and builds first.
    timeout: 600_000,
  },
});
