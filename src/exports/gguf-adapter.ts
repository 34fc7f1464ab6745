import { loraRank, loraScale, peftName, targetedModules, type Adapter, type AdapterTensor } from '../core/adapter';
import type { ByteSink } from '../core/bytes';
import { ExportError } from '../core/errors';
import type { ModelConfig } from '../core/model';
import { familyOf } from '../core/families';
import { ggufName, interleavedRow, isInterleaved } from '../gguf/families';
import { quantize } from '../gguf/quantize';
import { GgufWriter, f32, ggufSize, text, type GgufMetadata, type TensorPlan } from '../gguf/writer';
import type { ExportFile } from './files';
import { writeFile, type Written } from './hashing-sink';
import { allFinite } from './merge';

export interface AdapterExport {
  adapter: Adapter;
  /** The base model's config. */
  config: ModelConfig;
  name: string;
}

interface AdapterLayout {
  metadata: GgufMetadata;
  tensors: (TensorPlan & { data: () => Float32Array })[];
  bytes: number;
}

/**
 * The adapter's directory: PEFT's A `(r, in)` and B `(out, r)` unchanged as `.lora_a` and `.lora_b` in F32, but for B's rows
 * of q and k, which go into the family's GGUF order, and B of modules whose alpha is not the file's, which carry the difference.
 * Throws ExportError for DoRA, which GGUF adapters have no place for.
 */
export function adapterLayout({ adapter, config, name }: AdapterExport): AdapterLayout {
  const { config: lora } = adapter;
  if (lora.use_dora) throw new ExportError(`${name} is a DoRA, which has no GGUF adapter form; export the merged model instead.`);
  const family = familyOf(config);
  // llama.cpp scales by alpha / r whatever the adapter: with rsLoRA alpha carries the missing sqrt(r).
  const alpha = lora.lora_alpha * (lora.use_rslora ? Math.sqrt(lora.r) : 1);
  const tensors: AdapterLayout['tensors'] = [];
  for (const { path } of targetedModules(config, lora.target_modules)) {
    const factor = (loraScale(lora, path) * loraRank(lora, path)) / alpha;
    const weight = `${path}.weight`;
    for (const half of ['A', 'B'] as const) {
      const tensor = adapter.tensors.get(peftName(path, half));
      if (!tensor) throw new ExportError(`the adapter lacks ${peftName(path, half)}, so it cannot be written; export another checkpoint.`);
      const isB = half === 'B';
      tensors.push({
        name: `${ggufName(family, weight)!}.lora_${half.toLowerCase()}`,
        dims: [tensor.shape[1], tensor.shape[0]],
        type: 'F32',
        data: () => {
          const data = isB && isInterleaved(family, weight) ? interleaveRows(tensor, config.head_dim) : tensor.data;
          // A rounding of the quotient must not touch what needs no factor.
          return isB && Math.abs(factor - 1) > 1e-12 ? data.map((value) => value * factor) : data;
        },
      });
    }
  }
  const metadata: GgufMetadata = new Map([
    ['general.architecture', text(family.gguf.architecture)],
    ['general.type', text('adapter')],
    ['general.name', text(name)],
    ['adapter.type', text('lora')],
    ['adapter.lora.alpha', f32(alpha)],
  ]);
  return { metadata, tensors, bytes: ggufSize(metadata, tensors) };
}

function interleaveRows(tensor: AdapterTensor, headDim: number): Float32Array {
  const [rows, columns] = tensor.shape;
  const ordered = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    ordered.set(tensor.data.subarray(row * columns, (row + 1) * columns), interleavedRow(row, headDim) * columns);
  }
  return ordered;
}

/** The adapter as one file of an export. Throws as adapterLayout does. */
export function ggufAdapterFile(request: AdapterExport, name: string): ExportFile {
  return { name, bytes: adapterLayout(request).bytes, write: (sink, onBytes) => exportGgufAdapter(request, sink, onBytes) };
}

/** Writes a LoRA as a GGUF adapter for llama.cpp and Ollama and closes the sink. Throws ExportError where it is not finite. */
export async function exportGgufAdapter(request: AdapterExport, sink: ByteSink, onBytes?: (bytes: number) => void): Promise<Written> {
  const layout = adapterLayout(request);
  return writeFile(
    sink,
    async (out) => {
      const writer = await GgufWriter.start(out, layout.metadata, layout.tensors);
      for (const { name, data } of layout.tensors) {
        const values = data();
        if (!allFinite(values)) throw new ExportError(`${name} has values that are not finite numbers; export an earlier checkpoint.`);
        await writer.append(quantize('F32', values));
      }
      writer.finish();
    },
    onBytes,
  );
}
