import { dequantize } from '../core/blocks';
import { WEIGHT_BLOCKS, type ModelSource, type StoredTensor, type WeightType } from '../core/model';
import { quantize } from '../gguf/quantize';

/** What a base may be quantised to as it is read. */
export type BaseQuantization = 'Q8_0' | 'Q4_0';

const WIDE: ReadonlySet<WeightType> = new Set(['F32', 'F16', 'BF16']);

/** The base that a recipe trains over: as it is, or quantised where there is something to quantise. */
export function trainedBase(model: ModelSource, quantization: BaseQuantization | 'none'): ModelSource {
  return quantization === 'none' || !canQuantize(model) ? model : quantizedModel(model, quantization);
}

/** Whether some matrix of a model is stored in 16 or 32 bits, in rows that fill blocks. */
export function canQuantize(model: ModelSource): boolean {
  return [...model.tensors.values()].some((tensor) => isQuantizable(tensor, 'Q8_0'));
}

/**
 * The same model with its 16- and 32-bit matrices quantised while they are read (llama-quantize's blocks), so that it needs
 * a half or a quarter of the memory. Embedding and head, which every token passes, take 8 bits whatever the type;
 * vectors, rows that do not fill blocks, and what is quantised already stay as they are.
 */
export function quantizedModel(model: ModelSource, type: BaseQuantization): ModelSource {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, tensor] of model.tensors) {
    const target = /^(model\.embed_tokens|lm_head)\./.test(name) ? 'Q8_0' : type;
    tensors.set(name, isQuantizable(tensor, target) ? quantizedTensor(tensor, target) : tensor);
  }
  return { ...model, tensors };
}

function isQuantizable({ shape, type }: StoredTensor, target: WeightType): boolean {
  return shape.length === 2 && WIDE.has(type) && shape[1]! % WEIGHT_BLOCKS[target].length === 0;
}

function quantizedTensor(tensor: StoredTensor, type: BaseQuantization): StoredTensor {
  return { ...tensor, type, readRows: async (first, count) => quantize(type, dequantize(tensor.type, await tensor.readRows(first, count))) };
}
