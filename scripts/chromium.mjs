/** Finds a Chromium for the end-to-end tests. Node's built-ins only, save for Playwright's own browser where Playwright is installed. */
import { existsSync } from 'node:fs';

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe',
];

/**
 * Path of a Chromium or Chrome: the one that HONE_CHROMIUM or CHROME_PATH names, else Playwright's own, else an installed one.
 * @returns {Promise<string | null>}
 */
export async function findChromium() {
  for (const path of [process.env.HONE_CHROMIUM, process.env.CHROME_PATH]) if (path && existsSync(path)) return path;
  const playwright = await import('@playwright/test').catch(() => null);
  const own = playwright?.chromium.executablePath();
  if (own && existsSync(own)) return own;
  return PLACES.find((path) => existsSync(path)) ?? null;
}
