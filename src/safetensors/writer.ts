import type { ByteSink } from '../core/bytes';
import { SafetensorsError } from '../core/errors';
import { SAFETENSORS_TYPES, type SafetensorsType } from './reader';

export interface TensorPlan {
  name: string;
  type: SafetensorsType;
  shape: readonly number[];
}

/** The header's bytes for tensors in a given order, data following without gaps; padded with spaces to 8 bytes. */
export function safetensorsHeader(tensors: readonly TensorPlan[], metadata: Record<string, string> = {}): Uint8Array {
  const header: Record<string, unknown> = {};
  if (Object.keys(metadata).length > 0) header['__metadata__'] = metadata;
  let offset = 0;
  for (const tensor of tensors) {
    if (Object.hasOwn(header, tensor.name)) throw new SafetensorsError(`the tensor ${tensor.name} would be written twice; names have to differ.`);
    const end = offset + tensorBytes(tensor);
    header[tensor.name] = { dtype: tensor.type, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(json.byteLength / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

/** Bytes of a whole safetensors file with these tensors. */
export function safetensorsSize(tensors: readonly TensorPlan[], metadata: Record<string, string> = {}): number {
  return tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), safetensorsHeader(tensors, metadata).byteLength);
}

/** Bytes of a tensor's data. */
export function tensorBytes(tensor: TensorPlan): number {
  return tensor.shape.reduce((product, size) => product * size, SAFETENSORS_TYPES[tensor.type]);
}

/**
 * Writes a safetensors file front to back: the tensors' names, types and shapes are known first, their data follow
 * in the same order, in pieces of any size. `finish` throws SafetensorsError where data are missing; it does not close the sink.
 */
export class SafetensorsWriter {
  private left: number;

  private constructor(
    private readonly sink: ByteSink,
    total: number,
  ) {
    this.left = total;
  }

  /** Writes the header. */
  static async start(sink: ByteSink, tensors: readonly TensorPlan[], metadata: Record<string, string> = {}): Promise<SafetensorsWriter> {
    const header = safetensorsHeader(tensors, metadata);
    await sink.write(header);
    return new SafetensorsWriter(sink, safetensorsSize(tensors, metadata) - header.byteLength);
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.left -= bytes.byteLength;
    if (this.left < 0) throw new SafetensorsError(`${-this.left} bytes more than announced were written; the tensors' shapes do not fit their data.`);
    await this.sink.write(bytes);
  }

  finish(): void {
    if (this.left !== 0) throw new SafetensorsError(`${this.left} bytes of tensor data are missing; the tensors' shapes do not fit their data.`);
  }
}

/** Writes whole f32 tensors, in the map's order. */
export async function writeFloat32Tensors(
  sink: ByteSink,
  tensors: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>,
  metadata: Record<string, string> = {},
): Promise<void> {
  const plans = [...tensors].map(([name, { shape }]): TensorPlan => ({ name, type: 'F32', shape }));
  const writer = await SafetensorsWriter.start(sink, plans, metadata);
  for (const { data } of tensors.values()) await writer.append(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  writer.finish();
}
