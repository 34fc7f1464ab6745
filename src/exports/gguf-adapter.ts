import { loraScale, peftName, type Adapter, type AdapterTensor } from '../core/adapter';
import type { ByteSink } from '../core/bytes';
import { ExportError } from '../core/errors';
import { projectionPath, type ModelConfig } from '../core/model';
import type { OnProgress } from '../core/progress';
import { GGUF_FAMILIES, ggufName, interleavedRow, isInterleaved } from '../gguf/families';
import { quantize } from '../gguf/quantize';
import { GgufWriter, f32, ggufSize, text, type GgufMetadata, type TensorPlan } from '../gguf/writer';
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
 * The adapter's directory: PEFT's A `(r, in)` and B `(out, r)` unchanged as `.lora_a` and `.lora_b` in F32,
 * but for B's rows of q and k, which go into the family's GGUF order.
 */
export function adapterLayout({ adapter, config, name }: AdapterExport): AdapterLayout {
  const family = GGUF_FAMILIES.find((known) => known.modelType === config.model_type);
  if (!family) throw new ExportError(`${name} adapts a ${config.model_type} model, which Hone cannot write as GGUF; export as PEFT instead.`);
  const tensors: AdapterLayout['tensors'] = [];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    for (const projection of adapter.config.target_modules) {
      const path = `model.layers.${layer}.${projectionPath(projection)}`;
      const weight = `${path}.weight`;
      for (const half of ['A', 'B'] as const) {
        const tensor = adapter.tensors.get(peftName(path, half));
        if (!tensor) throw new ExportError(`the adapter lacks ${peftName(path, half)}, so it cannot be written; export another checkpoint.`);
        const interleaved = half === 'B' && isInterleaved(family, weight);
        tensors.push({
          name: `${ggufName(family, weight)!}.lora_${half.toLowerCase()}`,
          dims: [tensor.shape[1], tensor.shape[0]],
          type: 'F32',
          data: () => (interleaved ? interleaveRows(tensor, config.head_dim) : tensor.data),
        });
      }
    }
  }
  const metadata: GgufMetadata = new Map([
    ['general.architecture', text(family.architecture)],
    ['general.type', text('adapter')],
    ['general.name', text(name)],
    ['adapter.type', text('lora')],
    // llama.cpp scales by alpha / r whatever the adapter: with rsLoRA alpha carries the missing sqrt(r).
    ['adapter.lora.alpha', f32(loraScale(adapter.config) * adapter.config.r)],
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

/** Writes a LoRA as a GGUF adapter for llama.cpp and Ollama and closes the sink. Throws ExportError where it is not finite. */
export async function exportGgufAdapter(request: AdapterExport, sink: ByteSink, onProgress?: OnProgress): Promise<Written> {
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
    (done) => onProgress?.({ label: 'Writing the adapter', done, total: layout.bytes, unit: 'bytes' }),
  );
}
