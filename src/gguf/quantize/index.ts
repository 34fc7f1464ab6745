import { WEIGHT_BLOCKS, type WeightType } from '../../core/model';
import { quantizeBF16 } from './bf16';
import { quantizeF16 } from './f16';
import { quantizeQ4_0 } from './q4_0';
import { quantizeQ4_1 } from './q4_1';
import { quantizeQ4_K } from './q4_k';
import { quantizeQ5_0 } from './q5_0';
import { quantizeQ5_1 } from './q5_1';
import { quantizeQ5_K } from './q5_k';
import { quantizeQ6_K } from './q6_k';
import { quantizeQ8_0 } from './q8_0';

type Quantizer = (values: Float32Array, out: Uint8Array) => void;

const QUANTIZERS: Record<WeightType, Quantizer> = {
  F32: (values, out) => out.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
  F16: quantizeF16,
  BF16: quantizeBF16,
  Q8_0: quantizeQ8_0,
  Q4_0: quantizeQ4_0,
  Q4_1: quantizeQ4_1,
  Q5_0: quantizeQ5_0,
  Q5_1: quantizeQ5_1,
  Q4_K: quantizeQ4_K,
  Q5_K: quantizeQ5_K,
  Q6_K: quantizeQ6_K,
};

/**
 * The bytes of float32 weights in a stored type, the same as llama-quantize writes on x86-64 without an importance matrix.
 * Throws a RangeError where the weights do not fill whole blocks.
 */
export function quantize(type: WeightType, values: Float32Array): Uint8Array {
  const block = WEIGHT_BLOCKS[type];
  if (values.length % block.length !== 0) throw new RangeError(`${values.length} weights do not fill blocks of ${block.length} (${type})`);
  const out = new Uint8Array((values.length / block.length) * block.bytes);
  QUANTIZERS[type](values, out);
  return out;
}
