import type { ByteSource } from '../core/bytes';
import { SafetensorsError } from '../core/errors';

/** The limit of the format's own reader. */
const LONGEST_HEADER = 100_000_000;

/** Types by the format's names, with bytes an element. */
export const SAFETENSORS_TYPES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
} as const;
export type SafetensorsType = keyof typeof SAFETENSORS_TYPES;

export interface SafetensorsInfo {
  name: string;
  type: SafetensorsType;
  shape: number[];
  /** From the start of the file. */
  offset: number;
  bytes: number;
}

export interface SafetensorsHeader {
  metadata: Record<string, string>;
  tensors: Map<string, SafetensorsInfo>;
}

/**
 * Reads the directory of a safetensors file: u64 header length, JSON header, data (github.com/huggingface/safetensors).
 * Throws SafetensorsError where lengths pass the file's end, the JSON is not of the format's form, or tensors overlap.
 */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsHeader> {
  const start = await readHeaderLength(source);
  const json = parseHeader(source, await source.read(8, start - 8));
  const tensors = new Map<string, SafetensorsInfo>();
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(json)) {
    if (name === '__metadata__') metadata = readMetadata(source, entry);
    else tensors.set(name, readInfo(source, name, entry, start));
  }
  refuseOverlaps(source, tensors);
  return { metadata, tensors };
}

async function readHeaderLength(source: ByteSource): Promise<number> {
  if (source.size < 10) {
    throw new SafetensorsError(`${source.name}: the file has ${source.size} bytes, too few for a safetensors file; download it again.`);
  }
  const bytes = await source.read(0, 8);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  if (length > LONGEST_HEADER || 8 + length > source.size) {
    throw new SafetensorsError(
      `${source.name}: the header claims ${length} bytes in a file of ${source.size} (and at most ${LONGEST_HEADER} are allowed); ` +
        'the file is no safetensors file, is cut short, or is a Git LFS pointer, download it again.',
    );
  }
  return 8 + length;
}

function parseHeader(source: ByteSource, bytes: Uint8Array): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new SafetensorsError(`${source.name}: the header is not JSON (${(cause as Error).message}); the file is damaged, download it again.`, { cause });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new SafetensorsError(`${source.name}: the header is not a JSON object; the file is damaged, download it again.`);
  }
  return json as Record<string, unknown>;
}

function readMetadata(source: ByteSource, entry: unknown): Record<string, string> {
  if (typeof entry !== 'object' || entry === null || !Object.values(entry).every((value) => typeof value === 'string')) {
    throw new SafetensorsError(`${source.name}: __metadata__ is not a list of texts; the file is damaged, download it again.`);
  }
  return entry as Record<string, string>;
}

function readInfo(source: ByteSource, name: string, entry: unknown, start: number): SafetensorsInfo {
  const fail = (problem: string): never => {
    throw new SafetensorsError(`${source.name}: tensor ${name.slice(0, 200)} ${problem}; the file is damaged, download it again.`);
  };
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as { dtype?: unknown; shape?: unknown; data_offsets?: unknown };
  if (typeof dtype !== 'string' || !Object.hasOwn(SAFETENSORS_TYPES, dtype)) return fail(`has the unknown type ${String(dtype).slice(0, 40)}`);
  if (!isSizes(shape)) return fail('has no shape of whole numbers');
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) return fail('has no data_offsets of two rising numbers');
  const type = dtype as SafetensorsType;
  const bytes = shape.reduce((product, size) => product * size, SAFETENSORS_TYPES[type]);
  if (bytes !== offsets[1]! - offsets[0]!) {
    fail(`of shape ${shape.join(' × ')} in ${type} takes ${bytes} bytes, and ${offsets[1]! - offsets[0]!} are set aside`);
  }
  if (start + offsets[1]! > source.size) fail(`ends at byte ${start + offsets[1]!}, and the file has ${source.size}`);
  return { name, type, shape, offset: start + offsets[0]!, bytes };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 8 && value.every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
}

function refuseOverlaps(source: ByteSource, tensors: Map<string, SafetensorsInfo>): void {
  const placed = [...tensors.values()].filter((info) => info.bytes > 0).sort((a, b) => a.offset - b.offset);
  placed.forEach((info, i) => {
    const next = placed[i + 1];
    if (next && info.offset + info.bytes > next.offset) {
      throw new SafetensorsError(`${source.name}: tensors ${info.name} and ${next.name} overlap; the file is damaged, download it again.`);
    }
  });
}
