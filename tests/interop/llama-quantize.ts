import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rowBytes, type FileType, type WeightType } from '../../src/core/model';
import { fileTypeId } from '../../src/gguf/file-types';
import { TENSOR_TYPES } from '../../src/gguf/types';

const script = fileURLToPath(new URL('./llama_quantize.py', import.meta.url));
const folder = fileURLToPath(new URL('./node-llama-cpp/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/', import.meta.url));

/** Path of one of llama.cpp's libraries for x86-64, or undefined. */
function library(name: RegExp): string | undefined {
  const found = existsSync(folder) && process.arch === 'x64' && process.platform === 'linux' ? readdirSync(folder).find((file) => name.test(file)) : undefined;
  return found && join(folder, found);
}
const ggml = library(/^libggml-base\b.*\.so$/);
const llama = library(/^libllama\.(.*\.)?so$/);

/** Whether llama.cpp's libraries (those of node-llama-cpp) and a Python that can call them are there; tests that need them skip otherwise. */
export const hasLlamaQuantize = ggml !== undefined && llama !== undefined && spawnSync('python3', ['-c', 'import ctypes']).status === 0;

/** The bytes that ggml makes of weights in several types. */
export function ggmlQuantize(types: readonly WeightType[], values: Float32Array): Uint8Array[] {
  const scratch = mkdtempSync(join(tmpdir(), 'hone-ggml-'));
  try {
    const input = join(scratch, 'input');
    writeFileSync(input, values);
    const jobs = types.map((type) => `${input}:${TENSOR_TYPES[type].id}:${rowBytes(type, values.length)}:${join(scratch, type)}`);
    run([ggml!, 'chunk', ...jobs]);
    return types.map((type) => readFileSync(join(scratch, type)));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Has llama.cpp quantise a GGUF file to several file types: FILE-TYPE.gguf in a folder. */
export function llamaQuantize(input: string, types: readonly FileType[], out: string): void {
  run([llama!, 'file', input, ...types.map((type) => `${fileTypeId(type)}:${join(out, `${type}.gguf`)}`)]);
}

function run(args: string[]): void {
  const { status, signal, stderr } = spawnSync('python3', [script, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`llama.cpp ended with ${status ?? signal}: ${stderr.slice(-2000)}`);
}
