import type { ByteSource } from '../core/bytes';
import { GgufError } from '../core/errors';
import { Cursor } from './cursor';
import {
  DEFAULT_ALIGNMENT,
  GGUF_MAGIC,
  GGUF_VERSIONS,
  MAX_TENSOR_NAME,
  TENSOR_TYPES,
  VALUE_BYTES,
  VALUE_TYPES,
  type GgufHeader,
  type GgufValue,
  type ScalarType,
  type ScalarValue,
  type TensorInfo,
  type TensorType,
  type ValueType,
} from './types';

/** Real models have some hundred metadata and at most some thousand tensors. */
const MOST_ENTRIES = 65536;
/** Bytes of the shortest key-value (empty key, one-byte value) and the shortest tensor info (empty name, one dimension). */
const SHORTEST_KEY_VALUE = 13;
const SHORTEST_TENSOR_INFO = 32;

const valueTypes = new Map<number, ValueType>(Object.entries(VALUE_TYPES).map(([name, id]) => [id, name as ValueType]));
const tensorTypes = new Map<number, TensorType>(Object.entries(TENSOR_TYPES).map(([name, type]) => [type.id, name as TensorType]));

/**
 * Reads a GGUF file's directory (header, metadata, tensor infos) without touching the tensors' data.
 * Every count and length is checked against the file's size before it is used.
 * Throws GgufError where the file is not GGUF version 2 or 3 in little-endian order, is cut short, or contradicts itself.
 * Layout: ggml's docs/gguf.md.
 */
export async function readGguf(source: ByteSource): Promise<GgufHeader> {
  const cursor = new Cursor(source);
  const version = await readVersion(source, cursor);
  const tensorCount = checkCount(source, cursor.length(), SHORTEST_TENSOR_INFO, 'tensors');
  const entryCount = checkCount(source, cursor.length(), SHORTEST_KEY_VALUE, 'metadata entries');

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entryCount; i++) {
    const key = await readString(cursor, `the key of metadata entry ${i + 1} of ${entryCount}`);
    if (metadata.has(key)) throw new GgufError(`${source.name}: the metadata hold ${key} twice; the file is damaged, make it anew.`);
    metadata.set(key, await readValue(source, cursor, key));
  }
  const alignment = readAlignment(source, metadata);

  const infos: RawInfo[] = [];
  for (let i = 0; i < tensorCount; i++) infos.push(await readTensorInfo(source, cursor, i, tensorCount));
  const dataOffset = padTo(cursor.position, alignment);
  const tensors = placeTensors(source, infos, dataOffset, alignment);
  return { version, alignment, metadata, tensors, dataOffset };
}

/** `value` rounded up to a multiple of `alignment`; exact past 2^31. */
export function padTo(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

async function readVersion(source: ByteSource, cursor: Cursor): Promise<number> {
  if (source.size < 24) {
    throw new GgufError(`${source.name}: the file has ${source.size} bytes, fewer than a GGUF header; choose a complete .gguf file.`);
  }
  await cursor.fill(24, 'the header');
  const magic = cursor.u32();
  if (magic !== GGUF_MAGIC) {
    throw new GgufError(
      `${source.name}: the file starts with ${hex(magic)} instead of "GGUF", so it is no GGUF file; choose a .gguf file or a safetensors folder.`,
    );
  }
  const version = cursor.u32();
  if (version !== 0 && version % 0x10000 === 0) {
    throw new GgufError(`${source.name}: the file is in big-endian order, which Hone does not read; convert it with gguf_convert_endian.py.`);
  }
  if (!GGUF_VERSIONS.includes(version)) {
    throw new GgufError(`${source.name}: the file is GGUF version ${version}, and Hone reads versions 2 and 3; convert the model with a current llama.cpp.`);
  }
  return version;
}

function hex(magic: number): string {
  const bytes = [magic & 255, (magic >>> 8) & 255, (magic >>> 16) & 255, magic >>> 24];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

function checkCount(source: ByteSource, count: number, least: number, what: string): number {
  if (count > MOST_ENTRIES || count * least > source.size) {
    throw new GgufError(
      `${source.name}: the header announces ${count} ${what}, more than a file of ${source.size} bytes can describe; the file is damaged or cut short, download or copy it again.`,
    );
  }
  return count;
}

async function readString(cursor: Cursor, what: string): Promise<string> {
  if (!cursor.has(8)) await cursor.fill(8, what);
  const length = cursor.length();
  if (!cursor.has(length)) await cursor.fill(length, what);
  return cursor.string(length);
}

function valueType(source: ByteSource, id: number, key: string): ValueType {
  const type = valueTypes.get(id);
  if (!type) throw new GgufError(`${source.name}: the metadata value of ${key} has type ${id}, and GGUF knows types 0 to 12; the file is damaged.`);
  return type;
}

async function readValue(source: ByteSource, cursor: Cursor, key: string): Promise<GgufValue> {
  await cursor.fill(4, key);
  const type = valueType(source, cursor.u32(), key);
  if (type !== 'ARRAY') return { type, value: await readScalar(cursor, type, key) };

  await cursor.fill(12, key);
  const of = valueType(source, cursor.u32(), key);
  const count = cursor.length();
  if (of === 'ARRAY') throw new GgufError(`${source.name}: the metadata value of ${key} is an array of arrays, which Hone does not read.`);
  if (count * VALUE_BYTES[of] > cursor.left) {
    throw new GgufError(
      `${source.name}: the metadata array ${key} announces ${count} elements, and only ${cursor.left} bytes follow; the file is cut short or damaged.`,
    );
  }
  const value: ScalarValue[] = [];
  for (let i = 0; i < count; i++) {
    if (of === 'STRING') value.push(await readString(cursor, key));
    else {
      // Awaiting each element would cost more than reading it.
      if (!cursor.has(8)) await cursor.fill(VALUE_BYTES[of], key);
      value.push(takeNumber(cursor, of));
    }
  }
  return { type, of, value };
}

async function readScalar(cursor: Cursor, type: ScalarType, key: string): Promise<ScalarValue> {
  if (type === 'STRING') return readString(cursor, key);
  await cursor.fill(VALUE_BYTES[type], key);
  return takeNumber(cursor, type);
}

function takeNumber(cursor: Cursor, type: Exclude<ScalarType, 'STRING'>): ScalarValue {
  switch (type) {
    case 'U8':
      return cursor.u8();
    case 'I8':
      return cursor.i8();
    case 'U16':
      return cursor.u16();
    case 'I16':
      return cursor.i16();
    case 'U32':
      return cursor.u32();
    case 'I32':
      return cursor.i32();
    case 'F32':
      return cursor.f32();
    case 'BOOL':
      return cursor.u8() !== 0;
    case 'U64':
      return exact(cursor.u64());
    case 'I64':
      return exact(cursor.i64());
    case 'F64':
      return cursor.f64();
  }
}

function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function readAlignment(source: ByteSource, metadata: Map<string, GgufValue>): number {
  const entry = metadata.get('general.alignment');
  if (!entry) return DEFAULT_ALIGNMENT;
  const value = entry.value;
  if (entry.type !== 'U32' || typeof value !== 'number' || value < 8 || value > 65536 || (value & (value - 1)) !== 0) {
    throw new GgufError(
      `${source.name}: general.alignment is ${String(value)} (${entry.type}), and a power of two from 8 to 65536 (U32) was expected; the file is damaged.`,
    );
  }
  return value;
}

type RawInfo = Omit<TensorInfo, 'offset'> & { relativeOffset: number };

async function readTensorInfo(source: ByteSource, cursor: Cursor, index: number, count: number): Promise<RawInfo> {
  const name = await readString(cursor, `the name of tensor ${index + 1} of ${count}`);
  const fail = (problem: string): never => {
    throw new GgufError(`${source.name}: tensor ${name.slice(0, 80)} ${problem}`);
  };
  if (name.length >= MAX_TENSOR_NAME) fail(`has a name of ${name.length} characters, and GGUF allows ${MAX_TENSOR_NAME - 1}; the file is damaged.`);
  await cursor.fill(4, `tensor ${name}`);
  const rank = cursor.u32();
  if (rank < 1 || rank > 4) fail(`has ${rank} dimensions, and 1 to 4 were expected; the file is damaged.`);
  await cursor.fill(rank * 8 + 12, `tensor ${name}`);
  const dims: number[] = [];
  for (let i = 0; i < rank; i++) dims.push(cursor.length());
  const id = cursor.u32();
  const relativeOffset = cursor.length();
  const type = tensorTypes.get(id) ?? fail(`has type ${id}, which is no tensor type known to Hone; re-export the model as Q8_0 or F16.`);
  const block = TENSOR_TYPES[type];
  const elements = dims.reduce((product, dim) => product * dim, 1);
  if (!Number.isSafeInteger(elements) || elements < 1) fail(`has the shape ${dims.join(' × ')}, which no model can have; the file is damaged.`);
  if (dims[0]! % block.length !== 0) {
    fail(`has rows of ${dims[0]} weights, and ${type} packs ${block.length} to a block; the file is damaged, convert the model anew.`);
  }
  return { name, dims, type, bytes: (elements / block.length) * block.bytes, relativeOffset };
}

function placeTensors(source: ByteSource, infos: RawInfo[], dataOffset: number, alignment: number): Map<string, TensorInfo> {
  const tensors = new Map<string, TensorInfo>();
  for (const { relativeOffset, ...info } of infos) {
    if (tensors.has(info.name)) throw new GgufError(`${source.name}: tensor ${info.name} is listed twice; the file is damaged, make it anew.`);
    if (relativeOffset % alignment !== 0) {
      throw new GgufError(
        `${source.name}: tensor ${info.name} starts at ${relativeOffset}, which is no multiple of the alignment ${alignment}; the file is damaged.`,
      );
    }
    const offset = dataOffset + relativeOffset;
    if (offset + info.bytes > source.size) {
      throw new GgufError(
        `${source.name}: tensor ${info.name} ends at byte ${offset + info.bytes}, and the file has ${source.size}; ` +
          'the file is cut short, download or copy it again.',
      );
    }
    tensors.set(info.name, { ...info, offset });
  }
  return tensors;
}
