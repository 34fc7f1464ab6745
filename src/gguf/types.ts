/**
 * GGUF's own numbers, as in ggml's docs/gguf.md and ggml.h.
 */

export const GGUF_MAGIC = 0x46554747;
export const GGUF_VERSIONS: readonly number[] = [2, 3];
export const DEFAULT_ALIGNMENT = 32;
/** A tensor name takes fewer bytes than this (GGML_MAX_NAME). */
export const MAX_TENSOR_NAME = 64;

/** Types of metadata values. */
export const VALUE_TYPES = {
  U8: 0,
  I8: 1,
  U16: 2,
  I16: 3,
  U32: 4,
  I32: 5,
  F32: 6,
  BOOL: 7,
  STRING: 8,
  ARRAY: 9,
  U64: 10,
  I64: 11,
  F64: 12,
} as const;
export type ValueType = keyof typeof VALUE_TYPES;
export type ScalarType = Exclude<ValueType, 'ARRAY'>;

/** Fewest bytes that a value of a type can take in a file: what a claimed count is checked against. */
export const VALUE_BYTES: Record<ScalarType, number> = {
  U8: 1,
  I8: 1,
  U16: 2,
  I16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  BOOL: 1,
  STRING: 8,
  U64: 8,
  I64: 8,
  F64: 8,
};

/** 64-bit integers are numbers where those are exact, else bigints. */
export type ScalarValue = number | bigint | boolean | string;
export type GgufValue =
  | { type: ScalarType; value: ScalarValue }
  | { type: 'ARRAY'; of: ScalarType; value: ScalarValue[] };

/** Tensor types by name: ggml's id, weights a block, bytes a block. */
export const TENSOR_TYPES = {
  F32: { id: 0, length: 1, bytes: 4 },
  F16: { id: 1, length: 1, bytes: 2 },
  Q4_0: { id: 2, length: 32, bytes: 18 },
  Q4_1: { id: 3, length: 32, bytes: 20 },
  Q5_0: { id: 6, length: 32, bytes: 22 },
  Q5_1: { id: 7, length: 32, bytes: 24 },
  Q8_0: { id: 8, length: 32, bytes: 34 },
  Q8_1: { id: 9, length: 32, bytes: 36 },
  Q2_K: { id: 10, length: 256, bytes: 84 },
  Q3_K: { id: 11, length: 256, bytes: 110 },
  Q4_K: { id: 12, length: 256, bytes: 144 },
  Q5_K: { id: 13, length: 256, bytes: 176 },
  Q6_K: { id: 14, length: 256, bytes: 210 },
  Q8_K: { id: 15, length: 256, bytes: 292 },
  IQ2_XXS: { id: 16, length: 256, bytes: 66 },
  IQ2_XS: { id: 17, length: 256, bytes: 74 },
  IQ3_XXS: { id: 18, length: 256, bytes: 98 },
  IQ1_S: { id: 19, length: 256, bytes: 50 },
  IQ4_NL: { id: 20, length: 32, bytes: 18 },
  IQ3_S: { id: 21, length: 256, bytes: 110 },
  IQ2_S: { id: 22, length: 256, bytes: 82 },
  IQ4_XS: { id: 23, length: 256, bytes: 136 },
  I8: { id: 24, length: 1, bytes: 1 },
  I16: { id: 25, length: 1, bytes: 2 },
  I32: { id: 26, length: 1, bytes: 4 },
  I64: { id: 27, length: 1, bytes: 8 },
  F64: { id: 28, length: 1, bytes: 8 },
  IQ1_M: { id: 29, length: 256, bytes: 56 },
  BF16: { id: 30, length: 1, bytes: 2 },
  TQ1_0: { id: 34, length: 256, bytes: 54 },
  TQ2_0: { id: 35, length: 256, bytes: 66 },
  MXFP4: { id: 39, length: 32, bytes: 17 },
} as const;
export type TensorType = keyof typeof TENSOR_TYPES;

/** `tokenizer.ggml.token_type`. */
export const TOKEN_TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** A tensor as the file's directory describes it; `dims` in the file's order, fastest first. */
export interface TensorInfo {
  name: string;
  dims: number[];
  type: TensorType;
  /** From the start of the file. */
  offset: number;
  bytes: number;
}

/** A GGUF file's directory: everything but the tensors' data. */
export interface GgufHeader {
  version: number;
  alignment: number;
  metadata: Map<string, GgufValue>;
  tensors: Map<string, TensorInfo>;
  /** Where the tensors' data start. */
  dataOffset: number;
}
