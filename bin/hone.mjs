#!/usr/bin/env node
/**
 * `npx hone …` from the checkout: builds src/cli into build/cli/main.js when a source is newer than the build, then runs it.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { installPackages, requireNode, root } from '../scripts/install.mjs';

const built = join(root, 'build/cli/main.js');

/** Latest modification time below a path, in milliseconds; the page's own folder and packages do not count. */
function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  const entries = readdirSync(path).filter((name) => name !== 'node_modules' && join(path, name) !== join(root, 'src/ui'));
  return Math.max(stat.mtimeMs, ...entries.map((name) => newest(join(path, name))));
}

function isFresh() {
  if (!existsSync(built)) return false;
  const sources = ['src', 'bench', 'vite.cli.config.ts', 'package-lock.json'].map((path) => newest(join(root, path)));
  return statSync(built).mtimeMs > Math.max(...sources);
}

/** Builds aside and renames, so that several commands may start at once and none reads half a file. */
async function build() {
  await installPackages();
  const { build: viteBuild } = await import('vite');
  const started = new Date();
  const aside = join(root, `build/cli-${process.pid}`);
  try {
    await viteBuild({ configFile: join(root, 'vite.cli.config.ts'), root, build: { outDir: aside } });
    mkdirSync(join(root, 'build/cli'), { recursive: true });
    renameSync(join(aside, 'main.js.map'), `${built}.map`);
    // A source saved while the build ran must count as newer than it.
    utimesSync(join(aside, 'main.js'), started, started);
    renameSync(join(aside, 'main.js'), built);
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

requireNode();
if (!isFresh()) await build();
process.setSourceMapsEnabled(true);
await import(pathToFileURL(built).href);
