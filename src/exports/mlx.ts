import { adaptedPaths, loraRank, loraScale, peftName, type Adapter } from '../core/adapter';
import { ExportError } from '../core/errors';
import type { ModelConfig } from '../core/model';
import { mlxNames, transposed } from '../formats/mlx-adapter';
import { safetensorsHeader, type TensorPlan } from '../safetensors/writer';
import { jsonFile, smallFile, type ExportFile } from './files';
import { allFinite } from './merge';

/**
 * The files that mlx-lm's load_adapters reads: adapters.safetensors with A `[in, r]` and B `[r, out]`, PEFT's transposed, and
 * with DoRA the row lengths `m`; adapter_config.json with the scale that B·A is multiplied by, which is one for all modules:
 * B of a module with another carries the difference. mlx-lm knows one rank: smaller modules are filled up with zeros. Throws ExportError where the adapter is not finite.
 */
export function mlxFiles(adapter: Adapter, model: ModelConfig): ExportFile[] {
  const { config } = adapter;
  const scale = config.lora_alpha / (config.use_rslora ? Math.sqrt(config.r) : config.r);
  const tensors: { plan: TensorPlan; data: Float32Array }[] = [];
  const add = (name: string, shape: readonly number[], data: Float32Array): void => {
    if (!allFinite(data)) throw new ExportError(`${name} has values that are not finite numbers; export an earlier checkpoint.`);
    tensors.push({ plan: { name, type: 'F32', shape }, data });
  };
  const paths = adaptedPaths(adapter);
  const rank = Math.max(...paths.map((path) => loraRank(config, path)));
  for (const path of paths) {
    const [a, b] = [adapter.tensors.get(peftName(path, 'A'))!, adapter.tensors.get(peftName(path, 'B'))!];
    const names = mlxNames(path);
    const factor = loraScale(config, path) / scale;
    const A = transposed(widened(a.data, rank * a.shape[1]), [rank, a.shape[1]]);
    const B = widened(transposed(b.data, b.shape), rank * b.shape[0]);
    add(names.a, [a.shape[1], rank], A);
    // A rounding of the quotient must not touch what needs no factor.
    add(names.b, [rank, b.shape[0]], Math.abs(factor - 1) > 1e-12 ? B.map((value) => value * factor) : B);
    const magnitude = adapter.magnitudes.get(path);
    if (magnitude) add(names.m, [magnitude.length], magnitude);
  }
  tensors.sort((x, y) => (x.plan.name < y.plan.name ? -1 : 1));
  const header = safetensorsHeader(tensors.map(({ plan }) => plan), { format: 'mlx' });
  const pieces = tensors.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return [jsonFile('adapter_config.json', mlxConfig(adapter, model, { paths, scale, rank })), smallFile('adapters.safetensors', [header, ...pieces])];
}

function mlxConfig({ config }: Adapter, model: ModelConfig, { paths, scale, rank }: { paths: readonly string[]; scale: number; rank: number }): object {
  return {
    fine_tune_type: config.use_dora ? 'dora' : 'lora',
    num_layers: model.num_hidden_layers,
    lora_parameters: { rank, scale, dropout: config.lora_dropout, keys: moduleKeys(paths) },
  };
}

/** Names inside a layer (`self_attn.q_proj`) of the modules that are adapted in any layer; the others of that name keep B = 0. */
function moduleKeys(paths: readonly string[]): string[] {
  return [...new Set(paths.map((path) => path.replace(/^model\.layers\.\d+\./, '')))];
}

/** The values, and zeros behind them. */
function widened(data: Float32Array, length: number): Float32Array {
  const out = new Float32Array(length);
  out.set(data);
  return out;
}
