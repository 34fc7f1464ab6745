import { loraRank, peftName, targetNames, type Adapter } from '../core/adapter';
import { dequantize } from '../core/blocks';
import type { ByteSource } from '../core/bytes';
import { ModelError, SafetensorsError } from '../core/errors';
import type { ModelConfig } from '../core/model';
import { ConfigFile, baseName, readJson } from '../safetensors/json';
import { readSafetensors, type SafetensorsInfo } from '../safetensors/reader';

/** Names of a module's tensors in mlx-lm's adapters.safetensors. */
export function mlxNames(path: string): { a: string; b: string; m: string } {
  return { a: `${path}.lora_a`, b: `${path}.lora_b`, m: `${path}.m` };
}

/**
 * Reads an adapter of mlx-lm (adapter_config.json, adapters.safetensors in F32) for a model: A `[in, r]` and B `[r, out]` become
 * PEFT's `[r, in]` and `[out, r]`, the scale an alpha. Throws SafetensorsError or ModelError where the files are not of that form.
 */
export async function readMlxAdapter(files: readonly ByteSource[], model: ModelConfig): Promise<Adapter> {
  const find = (name: string): ByteSource => {
    const file = files.find((candidate) => baseName(candidate) === name);
    if (!file) throw new SafetensorsError(`${name} is missing among the adapter's files; choose the whole folder.`);
    return file;
  };
  const file = new ConfigFile('adapter_config.json', await readJson(find('adapter_config.json')));
  const kind = file.optionalString('fine_tune_type') ?? 'lora';
  if (kind !== 'lora' && kind !== 'dora') throw new ModelError(`${file.file}: fine_tune_type is ${kind}, and Hone reads lora and dora; choose another adapter.`);
  const settings = file.section('lora_parameters');
  if (!settings) throw new SafetensorsError(`${file.file}: the key lora_parameters is missing; choose the whole folder.`);
  const [r, scale] = [settings.number('rank'), settings.number('scale')];
  const adapter: Adapter = {
    config: {
      r,
      lora_alpha: scale * r,
      lora_dropout: settings.optionalNumber('dropout') ?? 0,
      target_modules: [],
      use_rslora: false,
      use_dora: kind === 'dora',
      rank_pattern: {},
      alpha_pattern: {},
    },
    tensors: new Map(),
    magnitudes: new Map(),
  };
  const weights = find('adapters.safetensors');
  for (const info of (await readSafetensors(weights)).tensors.values()) await addTensor(adapter, weights, info);
  return withPatterns(adapter, model, scale);
}

async function addTensor(adapter: Adapter, file: ByteSource, info: SafetensorsInfo): Promise<void> {
  const { name, shape, type } = info;
  const [, path, kind] = /^(model\.layers\.\d+\..+)\.(lora_a|lora_b|m)$/.exec(name) ?? [];
  if (!path || type !== 'F32' || shape.length !== (kind === 'm' ? 1 : 2)) {
    throw new SafetensorsError(`${file.name}: ${name} is ${type} with the shape ${shape.join(' × ')}, which is no part of an adapter as Hone reads them.`);
  }
  const data = dequantize('F32', await file.read(info.offset, info.bytes));
  if (kind === 'm') {
    adapter.magnitudes.set(path, data);
    return;
  }
  const [rows, columns] = shape as [number, number];
  adapter.tensors.set(peftName(path, kind === 'lora_a' ? 'A' : 'B'), { shape: [columns, rows], data: transposed(data, [rows, columns]) });
}

/** mlx-lm's matrices are PEFT's with rows and columns exchanged. */
export function transposed(data: Float32Array, [rows, columns]: readonly [number, number]): Float32Array {
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) out[column * rows + row] = data[row * columns + column]!;
  return out;
}

/** Ranks are the tensors' own, and every module has the one scale: patterns say so in PEFT's terms. */
function withPatterns(adapter: Adapter, model: ModelConfig, scale: number): Adapter {
  const ranks: Record<string, number> = {};
  const alphas: Record<string, number> = {};
  const paths: string[] = [];
  for (const [name, { shape }] of adapter.tensors) {
    const path = /^base_model\.model\.(.+)\.lora_A\.weight$/.exec(name)?.[1];
    if (path === undefined) continue;
    paths.push(path);
    if (shape[0] === adapter.config.r) continue;
    ranks[path] = shape[0];
    alphas[path] = scale * shape[0];
  }
  const config = { ...adapter.config, target_modules: targetNames(model, paths), rank_pattern: ranks, alpha_pattern: alphas };
  for (const path of paths) {
    const [a, b] = [adapter.tensors.get(peftName(path, 'A'))!, adapter.tensors.get(peftName(path, 'B'))];
    if (b?.shape[1] === loraRank(config, path) && a.shape[0] === b.shape[1]) continue;
    throw new ModelError(`${path}: lora_a and lora_b do not fit together; save the adapter again.`);
  }
  return { ...adapter, config };
}
