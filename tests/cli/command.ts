import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const launcher = fileURLToPath(new URL('../../bin/hone.mjs', import.meta.url));

export interface CommandResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Starts the `hone` command as a person would. */
export function startHone(args: string[]): { child: ChildProcess; done: Promise<CommandResult> } {
  const child = spawn(process.execPath, [launcher, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const done = new Promise<CommandResult>((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
  return { child, done };
}

export function hone(...args: string[]): Promise<CommandResult> {
  return startHone(args).done;
}

/** A folder of its own, removed by `clear`. */
export function scratch(): { folder: string; clear: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'hone-test-'));
  return { folder, clear: () => rmSync(folder, { recursive: true, force: true }) };
}
