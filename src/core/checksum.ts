/**
 * CRC-32 as in zip, PNG and gzip (IEEE 802.3, reflected polynomial 0xEDB88320), eight bytes at a time
 * by the slicing-by-8 method (Kounavis and Berry, 2005): TABLES[k][b] is the CRC of byte b followed by k zeros.
 */
const TABLES = Array.from({ length: 8 }, () => new Uint32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  TABLES[0]![byte] = crc;
}
for (let k = 1; k < 8; k++) {
  for (let byte = 0; byte < 256; byte++) {
    const previous = TABLES[k - 1]![byte]!;
    TABLES[k]![byte] = (previous >>> 8) ^ TABLES[0]![previous & 0xff]!;
  }
}
const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES as [
  Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array,
];

/** CRC-32 of `bytes` as an unsigned 32-bit number; pass the CRC of what came before to continue it. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  const eights = bytes.length - (bytes.length % 8);
  let i = 0;
  for (; i < eights; i += 8) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      T7[crc & 0xff]! ^ T6[(crc >>> 8) & 0xff]! ^ T5[(crc >>> 16) & 0xff]! ^ T4[crc >>> 24]! ^
      T3[bytes[i + 4]!]! ^ T2[bytes[i + 5]!]! ^ T1[bytes[i + 6]!]! ^ T0[bytes[i + 7]!]!;
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ T0[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}
