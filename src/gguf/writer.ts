import type { ByteSink } from '../core/bytes';
import { GgufError } from '../core/errors';
import { WEIGHT_BLOCKS, type WeightType } from '../core/model';
import { padTo } from './reader';
import {
  DEFAULT_ALIGNMENT,
  GGUF_MAGIC,
  MAX_TENSOR_NAME,
  TENSOR_TYPES,
  VALUE_TYPES,
  type GgufValue,
  type ScalarType,
  type ScalarValue,
} from './types';

/** A tensor to be written: `dims` in GGUF's order, fastest first. */
export interface TensorPlan {
  name: string;
  dims: readonly number[];
  type: WeightType;
}

/** Metadata in the order they are written. */
export type GgufMetadata = Map<string, GgufValue>;

/** Values of the types that models use; llama.cpp refuses a key of another type than it expects. */
export const u32 = (value: number): GgufValue => ({ type: 'U32', value });
export const f32 = (value: number): GgufValue => ({ type: 'F32', value });
export const bool = (value: boolean): GgufValue => ({ type: 'BOOL', value });
export const text = (value: string): GgufValue => ({ type: 'STRING', value });
export const texts = (value: string[]): GgufValue => ({ type: 'ARRAY', of: 'STRING', value });
export const numbers = (of: 'I32' | 'F32', value: number[]): GgufValue => ({ type: 'ARRAY', of, value });

/** Bytes of a tensor's data, without padding. */
export function tensorBytes(tensor: TensorPlan): number {
  const block = WEIGHT_BLOCKS[tensor.type];
  return (tensor.dims.reduce((product, dim) => product * dim, 1) / block.length) * block.bytes;
}

/** Bytes of a whole GGUF file with this directory. */
export function ggufSize(metadata: GgufMetadata, tensors: readonly TensorPlan[]): number {
  const data = tensors.reduce((sum, tensor) => sum + padTo(tensorBytes(tensor), DEFAULT_ALIGNMENT), 0);
  return ggufHeader(metadata, tensors).byteLength + data;
}

/**
 * A GGUF version 3 directory, padded to where the data start: tensors follow in the order given, each padded to 32 bytes.
 * Throws GgufError where a name is too long or used twice, or a row does not fill whole blocks.
 */
export function ggufHeader(metadata: GgufMetadata, tensors: readonly TensorPlan[]): Uint8Array {
  const out = new Bytes();
  out.number('U32', GGUF_MAGIC);
  out.number('U32', 3);
  out.number('U64', tensors.length);
  out.number('U64', metadata.size);
  for (const [key, value] of metadata) {
    out.string(key);
    writeValue(out, key, value);
  }
  const names = new Set<string>();
  let offset = 0;
  for (const tensor of tensors) {
    checkPlan(tensor, names);
    out.string(tensor.name);
    out.number('U32', tensor.dims.length);
    for (const dim of tensor.dims) out.number('U64', dim);
    out.number('U32', TENSOR_TYPES[tensor.type].id);
    out.number('U64', offset);
    offset += padTo(tensorBytes(tensor), DEFAULT_ALIGNMENT);
  }
  out.pad(DEFAULT_ALIGNMENT);
  return out.bytes();
}

function checkPlan(tensor: TensorPlan, names: Set<string>): void {
  if (tensor.name.length >= MAX_TENSOR_NAME) {
    throw new GgufError(`the tensor name ${tensor.name} has ${tensor.name.length} characters, and GGUF allows ${MAX_TENSOR_NAME - 1}.`);
  }
  if (names.has(tensor.name)) throw new GgufError(`the tensor ${tensor.name} would be written twice; names have to differ.`);
  names.add(tensor.name);
  if (tensor.dims[0]! % WEIGHT_BLOCKS[tensor.type].length !== 0) {
    throw new GgufError(`the tensor ${tensor.name} has rows of ${tensor.dims[0]} weights, which do not fill blocks of ${tensor.type}.`);
  }
}

function writeValue(out: Bytes, key: string, value: GgufValue): void {
  out.number('U32', VALUE_TYPES[value.type]);
  if (value.type !== 'ARRAY') return writeScalar(out, key, value.type, value.value);
  out.number('U32', VALUE_TYPES[value.of]);
  out.number('U64', value.value.length);
  for (const element of value.value) writeScalar(out, key, value.of, element);
}

function writeScalar(out: Bytes, key: string, type: ScalarType, value: ScalarValue): void {
  if (type === 'STRING' && typeof value === 'string') out.string(value);
  else if (type === 'BOOL' && typeof value === 'boolean') out.number('U8', value ? 1 : 0);
  else if (type !== 'STRING' && type !== 'BOOL' && fits(type, value)) out.number(type, value);
  else throw new GgufError(`the metadata value of ${key} is ${String(value)}, which is no ${type}.`);
}

const INTEGER_RANGES: Partial<Record<ScalarType, [number, number]>> = {
  U8: [0, 0xff],
  I8: [-0x80, 0x7f],
  U16: [0, 0xffff],
  I16: [-0x8000, 0x7fff],
  U32: [0, 0xffffffff],
  I32: [-0x80000000, 0x7fffffff],
};

function fits(type: ScalarType, value: ScalarValue): value is number | bigint {
  if (typeof value === 'bigint') return type === 'U64' || type === 'I64';
  if (typeof value !== 'number') return false;
  if (type === 'F32' || type === 'F64') return true;
  if (type === 'U64' || type === 'I64') return Number.isSafeInteger(value) && (value >= 0 || type === 'I64');
  const [least, most] = INTEGER_RANGES[type]!;
  return Number.isInteger(value) && value >= least && value <= most;
}

/**
 * Writes a GGUF file front to back: `start` writes the directory, then the tensors' data are appended in the same order,
 * in pieces of any size that end where a tensor ends; padding is added between. `finish` throws GgufError where data are
 * missing; it does not close the sink.
 */
export class GgufWriter {
  private index = 0;
  private written = 0;

  private constructor(
    private readonly sink: ByteSink,
    private readonly tensors: readonly TensorPlan[],
  ) {}

  static async start(sink: ByteSink, metadata: GgufMetadata, tensors: readonly TensorPlan[]): Promise<GgufWriter> {
    await sink.write(ggufHeader(metadata, tensors));
    return new GgufWriter(sink, tensors);
  }

  /** Appends to the current tensor. */
  async append(bytes: Uint8Array): Promise<void> {
    const tensor = this.tensors[this.index];
    const length = tensor ? tensorBytes(tensor) : 0;
    this.written += bytes.byteLength;
    if (!tensor || this.written > length) {
      throw new GgufError(`${this.written} bytes were written for ${tensor?.name ?? 'no tensor'}, which takes ${length}.`);
    }
    await this.sink.write(bytes);
    if (this.written < length) return;
    const padding = padTo(length, DEFAULT_ALIGNMENT) - length;
    if (padding > 0) await this.sink.write(new Uint8Array(padding));
    this.index++;
    this.written = 0;
  }

  finish(): void {
    const missing = this.tensors[this.index];
    if (missing) throw new GgufError(`the data of ${missing.name} are missing or incomplete, so the file is not whole.`);
  }
}

/** A growing little-endian buffer. */
class Bytes {
  private buffer = new Uint8Array(1 << 16);
  private view = new DataView(this.buffer.buffer);
  private length = 0;
  private readonly encoder = new TextEncoder();

  number(type: Exclude<ScalarType, 'STRING' | 'BOOL'>, value: number | bigint): void {
    const at = this.grow(8);
    this.length += WRITERS[type](this.view, at, value);
  }

  string(value: string): void {
    // A UTF-16 unit takes at most three bytes.
    const at = this.grow(8 + value.length * 3);
    const { written } = this.encoder.encodeInto(value, this.buffer.subarray(at + 8));
    this.view.setBigUint64(at, BigInt(written), true);
    this.length += 8 + written;
  }

  pad(alignment: number): void {
    const padded = padTo(this.length, alignment);
    this.grow(padded - this.length);
    this.length = padded;
  }

  bytes(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  /** Makes room for `bytes` more; returns where they go. */
  private grow(bytes: number): number {
    const needed = this.length + bytes;
    if (needed > this.buffer.byteLength) {
      const larger = new Uint8Array(Math.max(needed, this.buffer.byteLength * 2));
      larger.set(this.buffer);
      this.buffer = larger;
      this.view = new DataView(larger.buffer);
    }
    return this.length;
  }
}

type NumberWriter = (view: DataView, at: number, value: number | bigint) => number;

/** Each writes a value and returns its bytes. */
const WRITERS: Record<Exclude<ScalarType, 'STRING' | 'BOOL'>, NumberWriter> = {
  U8: (view, at, value) => (view.setUint8(at, Number(value)), 1),
  I8: (view, at, value) => (view.setInt8(at, Number(value)), 1),
  U16: (view, at, value) => (view.setUint16(at, Number(value), true), 2),
  I16: (view, at, value) => (view.setInt16(at, Number(value), true), 2),
  U32: (view, at, value) => (view.setUint32(at, Number(value), true), 4),
  I32: (view, at, value) => (view.setInt32(at, Number(value), true), 4),
  F32: (view, at, value) => (view.setFloat32(at, Number(value), true), 4),
  U64: (view, at, value) => (view.setBigUint64(at, BigInt(value), true), 8),
  I64: (view, at, value) => (view.setBigInt64(at, BigInt(value), true), 8),
  F64: (view, at, value) => (view.setFloat64(at, Number(value), true), 8),
};
