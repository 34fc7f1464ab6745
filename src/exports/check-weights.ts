import type { WeightsReport } from '../core/certificate';
import { dequantize } from '../core/blocks';
import { ExportError } from '../core/errors';
import { WEIGHT_BLOCKS, type ModelSource, type StoredTensor, type WeightType } from '../core/model';

/** Weights compared at once: 4 MB of float32. */
const TILE = 1 << 20;

/** How far a correctly stored value may be off. */
interface Tolerance {
  /** Of the largest magnitude in its block. */
  share: number;
  /** The whole number that a block's F16 scale is multiplied by at most: below 2^-14 scales are only exact to 2^-25. */
  levels: number;
}

/**
 * For whole numbers of b bits half a step, for 4- and 5-bit types with a lopsided or searched scale more, because
 * llama-quantize lets the ends of the range be cut where that lowers the mean error. 16-bit floats: half a unit in the last
 * place.
 */
const TOLERANCES: Record<WeightType, Tolerance> = {
  F32: { share: 2 ** -22, levels: 0 },
  F16: { share: 2 ** -11 * 1.001, levels: 1 },
  BF16: { share: 2 ** -8 * 1.001, levels: 0 },
  // Half a step of 1/127, and the scale's own rounding to F16.
  Q8_0: { share: 0.5 / 127 + 2 ** -11, levels: 127 },
  // The end of the range on the shorter side is cut by a whole step of 1/8 (1/16).
  Q4_0: { share: 1.01 / 8, levels: 8 },
  Q5_0: { share: 1.01 / 16, levels: 16 },
  // Half a step of range/15 (range/31); the range is at most twice the magnitude.
  Q4_1: { share: 1.05 / 15, levels: 16 },
  Q5_1: { share: 1.05 / 31, levels: 32 },
  // Two steps; scales are whole numbers too.
  Q6_K: { share: 2 / 32, levels: 32 * 128 },
  Q5_K: { share: 4 / 31, levels: 32 * 63 },
  Q4_K: { share: 4 / 15, levels: 16 * 63 },
};

/** What the exported file's weights should be. */
export interface ExpectedWeights {
  /** The unquantised merge. */
  merged: ModelSource;
  /** The stored type of each weight, by Hugging Face name. */
  types: ReadonlyMap<string, WeightType>;
}

/**
 * Compares every weight of a file that was read again with what was meant. Throws an ExportError naming the first weight
 * that is of another type or off by more than its type explains.
 */
export async function checkWeights(
  { merged, types }: ExpectedWeights,
  file: ModelSource,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<WeightsReport> {
  const report: WeightsReport = { tensors: 0, exact: 0, rounded: [] };
  for (const [name, type] of types) {
    const [expected, found] = [merged.tensors.get(name)!, file.tensors.get(name)];
    if (!found) throw new ExportError(`${file.name} lacks ${name} when it is read again, so the export is not whole; export again.`);
    if (found.type !== type) throw new ExportError(`${file.name}: ${name} was to be ${type} and is ${found.type} when it is read again; export again.`);
    const { error, exact } = await largestError(expected, found, onBytes);
    report.tensors++;
    if (exact) report.exact++;
    else note(report, type, error, name);
    // The comparison is written so that an error that is not a number fails.
    if (!(error <= TOLERANCES[type].share)) {
      throw new ExportError(
        `${file.name}: ${name} differs from the trained weight by ${error.toPrecision(3)} of its block's largest value when it is read again, ` +
          `and ${type} explains ${TOLERANCES[type].share.toPrecision(3)}; the file was damaged while it was written, export again.`,
      );
    }
  }
  return report;
}

function note(report: WeightsReport, type: WeightType, error: number, name: string): void {
  const line = report.rounded.find((one) => one.type === type);
  if (!line) report.rounded.push({ type, tensors: 1, error, limit: TOLERANCES[type].share, worst: name });
  else {
    line.tensors++;
    if (error > line.error) Object.assign(line, { error, worst: name });
  }
}

async function largestError(expected: StoredTensor, found: StoredTensor, onBytes: (bytes: number) => void): Promise<{ error: number; exact: boolean }> {
  const columns = expected.shape.at(-1)!;
  const rows = expected.shape.length === 1 ? 1 : expected.shape[0]!;
  const tileRows = Math.max(1, Math.floor(TILE / columns));
  let error = 0;
  let exact = true;
  for (let first = 0; first < rows; first += tileRows) {
    const count = Math.min(tileRows, rows - first);
    const [meant, read] = [await expected.readRows(first, count), await found.readRows(first, count)];
    onBytes(read.byteLength);
    if (expected.type === found.type && equal(meant, read)) continue;
    exact = false;
    const tile = blockErrors(dequantize(expected.type, meant), dequantize(found.type, read), found.type);
    if (!(tile <= error)) error = tile;
  }
  return { error, exact };
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i]);
}

/** The largest error of a block relative to its largest magnitude, and for F32 to 1 where that is less. */
function blockErrors(meant: Float32Array, read: Float32Array, type: WeightType): number {
  const { length } = WEIGHT_BLOCKS[type];
  const unexplained = TOLERANCES[type].levels * 2 ** -25;
  let worst = 0;
  for (let at = 0; at < meant.length; at += length) {
    let largest = type === 'F32' ? 1 : 0;
    let error = 0;
    for (let i = at; i < at + length; i++) {
      largest = Math.max(largest, Math.abs(meant[i]!));
      const off = Math.abs(meant[i]! - read[i]!);
      if (!(off <= error)) error = off;
    }
    const share = error <= unexplained ? 0 : (error - unexplained) / largest;
    if (!(share <= worst)) worst = share;
  }
  return worst;
}
