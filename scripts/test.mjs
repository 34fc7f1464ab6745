/**
 * `npm test`: installs what is missing, runs every stage whatever the others do, counts, and ends with `N passed, N failed`.
 * `npm test -- --only=unit,gpu` runs some stages. Exit code 1 on any failure.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { counts, countPlaywright, countVitest } from './count.mjs';
import { installPackages, requireNode, root } from './install.mjs';

const STAGES = ['lint', 'types', 'unit', 'gpu', 'interop', 'e2e'];
/** A stage that takes longer hangs, even on a busy machine: the whole run is meant to take 15 minutes. */
const STAGE_LIMIT_MS = 45 * 60_000;

requireNode();
const { values } = parseArgs({ options: { only: { type: 'string' } } });
const only = values.only?.split(',') ?? STAGES;
const unknown = only.filter((stage) => !STAGES.includes(stage));
if (unknown.length > 0) {
  console.error(`--only knows ${STAGES.join(', ')}; found ${unknown.join(', ')}.`);
  process.exit(2);
}

const bin = (name) => join(root, 'node_modules', name);
const reports = join(root, 'build/test');

/** Command line of a stage; every program is started by this Node, so that none depends on a shell. */
function command(stage) {
  if (stage === 'lint') return [bin('eslint/bin/eslint.js'), '.'];
  if (stage === 'types') return [bin('svelte-check/bin/svelte-check'), '--tsconfig', 'tsconfig.json', '--fail-on-warnings'];
  if (stage === 'e2e') return [bin('@playwright/test/cli.js'), 'test'];
  const report = join(reports, `${stage}.json`);
  return [bin('vitest/vitest.mjs'), 'run', '--project', stage, '--passWithNoTests', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
}

/** @returns {Promise<{ code: number, output: string }>} output is kept back where `quiet`, for stages that run side by side */
function execute(stage, env, quiet) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, command(stage), { cwd: root, env, stdio: quiet ? 'pipe' : 'inherit' });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk));
    const timer = setTimeout(() => {
      output += `\n${stage} was stopped after ${STAGE_LIMIT_MS / 60_000} minutes.\n`;
      child.kill('SIGKILL');
    }, STAGE_LIMIT_MS);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? 1, output });
    });
  });
}

/** What a stage's report says; where it left none, or failed although no test did, the stage itself is one failure. */
function count(stage, code) {
  if (stage === 'lint' || stage === 'types') return code === 0 ? counts(1, [], []) : counts(0, [stage], []);
  const path = join(reports, `${stage}.json`);
  if (!existsSync(path)) return code === 0 ? counts(0, [], []) : counts(0, [`${stage}: ended with code ${code} and no report`], []);
  const report = JSON.parse(readFileSync(path, 'utf8'));
  const result = stage === 'e2e' ? countPlaywright(report) : countVitest(report);
  if (code !== 0 && result.failures.length === 0) result.failures.push(`${stage}: ended with code ${code} although every test passed`);
  return result;
}

async function runStage(stage, env, quiet) {
  rmSync(join(reports, `${stage}.json`), { force: true });
  if (!quiet) console.log(`\n── ${stage} ──`);
  const start = performance.now();
  const { code, output } = await execute(stage, env, quiet);
  const seconds = (performance.now() - start) / 1000;
  if (quiet) console.log(`\n── ${stage} ──\n${output.trimEnd()}`);
  else if (output) console.log(output);
  return { stage, seconds, ...count(stage, code) };
}

/** @returns {Promise<Record<string, string | undefined>>} the environment of all stages */
async function provision() {
  await installPackages();
  const { ensureChromium, ensureReaders, ensureVulkan } = await import('./provision.mjs');
  const chromium = only.includes('e2e') || only.includes('unit') ? await ensureChromium() : null;
  const env = { ...process.env };
  if (chromium) env.HONE_CHROMIUM = chromium;
  if (only.some((stage) => ['unit', 'gpu', 'interop'].includes(stage))) {
    const driver = await ensureVulkan(chromium);
    if (driver) env.VK_ICD_FILENAMES = driver;
    env.XDG_RUNTIME_DIR ??= mkdtempSync(join(tmpdir(), 'hone-xdg-'));
  }
  if (only.includes('interop')) await ensureReaders();
  return env;
}

const start = performance.now();
mkdirSync(reports, { recursive: true });
const env = await provision();
const results = [];
// Lint and types use one core and no GPU: they run beside the unit tests. What runs kernels runs alone.
const beside = async (stages) => {
  for (const stage of stages.filter((name) => only.includes(name))) results.push(await runStage(stage, env, true));
};
await Promise.all([beside(['lint', 'types']), beside(['unit'])]);
for (const stage of ['gpu', 'interop', 'e2e']) if (only.includes(stage)) results.push(await runStage(stage, env, false));

const sum = (of) => results.reduce((total, result) => total + of(result), 0);
const skips = results.flatMap((result) => result.skips.map((name) => `  ${result.stage}: ${name}`));
const failures = results.flatMap((result) => result.failures.map((name) => `  ${result.stage}: ${name}`));
console.log('\nstage      passed  failed  skipped  seconds');
for (const { stage, passed, failures: failed, skips: skipped, seconds } of results) {
  const cells = [passed, failed.length, skipped.length].map((value, index) => String(value).padStart([6, 8, 9][index]));
  console.log(`${stage.padEnd(11)}${cells.join('')}${seconds.toFixed(0).padStart(9)}`);
}
console.log(`in all ${((performance.now() - start) / 60_000).toFixed(1)} minutes`);
if (skips.length > 0) console.log(`\nSkipped:\n${skips.join('\n')}`);
if (failures.length > 0) console.log(`\nFailed:\n${failures.join('\n')}`);
console.log(`\n${sum((r) => r.passed)} passed, ${sum((r) => r.failures.length)} failed${skips.length > 0 ? `, ${skips.length} skipped` : ''}`);
process.exitCode = failures.length > 0 ? 1 : 0;
