import type { Adapter } from '../core/adapter';
import { dequantize } from '../core/blocks';
import { ExportError } from '../core/errors';
import { checkRows } from '../core/layout';
import { WEIGHT_BLOCKS, type ModelSource, type StoredTensor, type WeightType } from '../core/model';
import { quantize } from '../gguf/quantize';
import { allFinite, mergerOf } from './merge';

/** What training changed: an adapter that is added to the base weights, or weights that replace them, by Hugging Face name. */
export interface Change {
  adapter?: Adapter | null;
  weights?: ReadonlyMap<string, Float32Array> | null;
}

/**
 * The model with a change in its weights: those that change are read as F32, row by row, and all others as the base
 * stores them. No weight is held as a whole.
 */
export function mergedModel(model: ModelSource, { adapter, weights }: Change): ModelSource {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, tensor] of model.tensors) {
    const replacement = weights?.get(name);
    const merge = mergerOf(adapter, name.replace(/\.weight$/, ''));
    if (!replacement && !merge) {
      tensors.set(name, tensor);
      continue;
    }
    const columns = tensor.shape.at(-1)!;
    const rows = tensor.shape.length === 1 ? 1 : tensor.shape[0]!;
    tensors.set(name, {
      ...tensor,
      type: 'F32',
      readRows: async (first, count) => {
        checkRows(name, rows, first, count);
        const values = replacement
          ? replacement.slice(first * columns, (first + count) * columns)
          : dequantize(tensor.type, await tensor.readRows(first, count));
        merge?.(values, first, columns);
        return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      },
    });
  }
  return { ...model, tensors };
}

/** The model with its matrices rounded to a type as they are read, where their rows fill its blocks. */
export function roundedModel(model: ModelSource, type: WeightType): ModelSource {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, tensor] of model.tensors) {
    const fills = tensor.shape.length === 2 && tensor.shape[1]! % WEIGHT_BLOCKS[type].length === 0;
    tensors.set(name, fills ? { ...tensor, type, readRows: (first, count) => rowsAs(tensor, type, first, count) } : tensor);
  }
  return { ...model, tensors };
}

/** The largest number that F16 holds, and half a step on, where it rounds to infinity. */
const F16_END = 65520;

/**
 * Rows of a tensor in a stored type: byte for byte where it has that type already. `offset` is added to every value (norms).
 * Throws ExportError where a value is not finite, or too large for F16.
 */
export async function rowsAs(tensor: StoredTensor, type: WeightType, first: number, count: number, offset = 0): Promise<Uint8Array> {
  const stored = await tensor.readRows(first, count);
  if (tensor.type === type && type !== 'F32' && offset === 0) return stored;
  const values = dequantize(tensor.type, stored);
  if (offset !== 0) for (let i = 0; i < values.length; i++) values[i]! += offset;
  if (!allFinite(values)) {
    throw new ExportError(
      `${tensor.name} has values that are not finite numbers, so the merged model would be broken; export an earlier checkpoint, or train with a lower rate.`,
    );
  }
  if (type === 'F16' && values.some((value) => Math.abs(value) >= F16_END)) {
    throw new ExportError(`${tensor.name} has values above 65504, which F16 cannot hold; export as BF16 or F32.`);
  }
  return quantize(type, values);
}
