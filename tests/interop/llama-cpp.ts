import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('./node-llama-cpp/', import.meta.url));

/** Whether llama.cpp (node-llama-cpp, in a folder of its own) is installed; tests that need it skip otherwise. */
export const hasLlamaCpp = existsSync(join(folder, 'node_modules/node-llama-cpp'));

export interface Evaluation {
  /** Path of a GGUF model. */
  model: string;
  /** Path of a GGUF adapter. */
  lora?: string;
  ids: readonly number[];
}

/**
 * llama.cpp's logits after every token, V a position, of several files in one process, which saves its start for each.
 * Rejects where llama.cpp refuses a file, with what it said.
 */
export async function llamaLogitsOf(runs: readonly Evaluation[]): Promise<Float32Array[][]> {
  const scratch = mkdtempSync(join(tmpdir(), 'hone-logits-'));
  try {
    const out = join(scratch, 'logits.f32');
    const { vocabularies } = (await runReader({ runs, out })) as { vocabularies: number[] };
    const all = new Float32Array(new Uint8Array(readFileSync(out)).buffer);
    let at = 0;
    return runs.map(({ ids }, i) => ids.map(() => all.subarray(at, (at += vocabularies[i]!))));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** llama.cpp's logits after every token of one file. */
export async function llamaLogits(run: Evaluation): Promise<Float32Array[]> {
  return (await llamaLogitsOf([run]))[0]!;
}

/** llama.cpp's token ids of texts under a GGUF file's vocabulary, no BOS added, special tokens read as text or parsed. */
export async function llamaTokens(model: string, texts: readonly string[], parseSpecial = false): Promise<number[][]> {
  return ((await runReader({ model, texts, parseSpecial })) as { tokens: number[][] }).tokens;
}

/** Runs the reader in a process of its own and gives the JSON of its last line. */
function runReader(request: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(folder, 'logits.mjs')], { cwd: folder, stdio: ['pipe', 'pipe', 'pipe'] });
    let [output, errors] = ['', ''];
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) resolve(JSON.parse(output.trim().split('\n').at(-1) ?? 'null'));
      else reject(new Error(`llama.cpp ended with ${code ?? signal}: ${errors.slice(-2000)}`));
    });
    child.stdin.end(JSON.stringify(request));
  });
}
