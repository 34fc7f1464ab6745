/**
 * npm packages, installed when they are missing or differ from package-lock.json. Node's built-ins only:
 * this runs before anything is installed.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Runs a program and resolves with its exit code (1 where it was killed or could not start).
 * @param {string} program
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<number>}
 */
export function run(program, args, options = {}) {
  return new Promise((resolve) => {
    // Windows finds npm.cmd and npx.cmd only through the shell.
    const child = spawn(program, args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32', ...options });
    child.on('error', (error) => {
      console.error(`${program} could not be started: ${error.message}`);
      resolve(1);
    });
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

const lockHash = () => createHash('sha256').update(readFileSync(join(root, 'package-lock.json'))).digest('hex');

/** True where the tree npm last installed here holds the versions that the lockfile names (someone ran npm ci by hand). */
function installedTreeMatches() {
  const record = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '' || entry.link) return true;
    // Packages for other platforms are optional and stay away.
    return installed[path] ? installed[path].version === entry.version : entry.optional === true;
  });
}

/**
 * Installs the packages of package-lock.json unless they are there already.
 * Throws Error where npm fails.
 */
export async function installPackages() {
  const stamp = join(root, 'node_modules/.hone-stamp');
  const hash = lockHash();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  if (!installedTreeMatches()) {
    console.error('Installing npm packages …');
    // stdout belongs to the command that asked: `hone logits --json` must print JSON alone.
    const code = await run('npm', ['ci', '--no-audit', '--no-fund'], { stdio: ['ignore', 2, 2] });
    if (code !== 0) throw new Error(`npm ci failed with exit code ${code}; look at its messages above, then run the command again.`);
  }
  writeFileSync(stamp, hash);
}

/** Ends the process with a sentence where Node is older than package.json allows. */
export function requireNode() {
  const wanted = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node.replace('>=', '');
  const [wantedMajor, wantedMinor] = wanted.split('.').map(Number);
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  console.error(`Hone needs Node ${wanted} or newer; this is ${process.versions.node}. Install a newer Node and run the command again.`);
  process.exit(1);
}
