import { adaptedPaths, allModules, loraRank, peftName, targetNames, type Adapter } from '../core/adapter';
import type { ByteSource } from '../core/bytes';
import { ModelError } from '../core/errors';
import { projectionShape, type ModelConfig } from '../core/model';
import { readGgufAdapter } from './gguf-adapter';
import { startsWith } from './magic';
import { readPeftAdapter } from './peft-adapter';

/**
 * Reads a LoRA from the files of a PEFT folder (adapter_config.json, adapter_model.safetensors) or from one GGUF adapter;
 * tensors of any stored type are given out as f32. With `model`, they are checked against the model's modules and put into
 * Hugging Face's row order; without it, the rows of a GGUF adapter's q and k stay as the file has them: for looking at only.
 * Throws SafetensorsError or GgufError where the files are damaged, ModelError where the adapter is of a kind that Hone does
 * not compute or does not fit the model (naming the first tensor that differs).
 */
export async function readAdapter(files: readonly ByteSource[], model?: ModelConfig): Promise<Adapter> {
  for (const file of files) {
    if (!(await startsWith(file, 'GGUF'))) continue;
    const adapter = await readGgufAdapter(file, model);
    return model ? fitted(file.name, adapter, model, adaptedPaths(adapter)) : adapter;
  }
  const { file, adapter, targets } = await readPeftAdapter(files);
  return model ? fitted(file, adapter, model, targets(allModules(model).map(({ path }) => path))) : adapter;
}

/** The adapter with its target_modules as the model has them, once its tensors are those of the modules in `paths`. */
function fitted(file: string, adapter: Adapter, model: ModelConfig, paths: readonly string[]): Adapter {
  const config = { ...adapter.config, target_modules: targetNames(model, paths) };
  const checked = { ...adapter, config };
  checkAdapter(file, checked, model, new Set(paths));
  return checked;
}

/** Checks that an adapter holds the tensors of the modules in `paths`, in the model's shapes, and no more. Throws a ModelError. */
function checkAdapter(file: string, adapter: Adapter, model: ModelConfig, paths: ReadonlySet<string>): void {
  const otherModel = 'it was made for another model';
  const known = new Set<string>();
  for (const { path, projection } of allModules(model)) {
    if (!paths.has(path)) continue;
    known.add(path);
    const [out, columns] = projectionShape(model, projection);
    const r = loraRank(adapter.config, path);
    for (const [half, rows, width] of [['A', r, columns], ['B', out, r]] as const) {
      const name = peftName(path, half);
      const tensor = adapter.tensors.get(name);
      if (!tensor) throw new ModelError(`${file}: the adapter lacks ${name}, which the model's layers ask for; ${otherModel}.`);
      if (tensor.shape[0] !== rows || tensor.shape[1] !== width) {
        throw new ModelError(
          `${file}: ${name} has the shape ${tensor.shape.join(' × ')}, and the model asks for ${rows} × ${width}; ${otherModel}.`,
        );
      }
    }
    const magnitude = adapter.magnitudes.get(path);
    if (adapter.config.use_dora && magnitude?.length !== out) {
      throw new ModelError(
        `${file}: the DoRA magnitudes of ${path} are ${magnitude?.length ?? 0} numbers, and the model asks for ${out}; ${otherModel}.`,
      );
    }
  }
  const foreign = adaptedPaths(adapter).find((path) => !known.has(path));
  if (foreign !== undefined) {
    throw new ModelError(
      `${file}: the adapter has ${adapter.tensors.size} tensors, ` +
        `and the model's modules take ${2 * known.size}: it has no ${foreign}; ${otherModel}.`,
    );
  }
}
