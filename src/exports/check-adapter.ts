import { adaptedPaths, loraRank, loraScale, peftName, type Adapter, type AdapterTensor } from '../core/adapter';
import type { WeightsReport } from '../core/certificate';
import { ExportError } from '../core/errors';

/** Factors that a form cannot hold are folded into B: one rounding there, and one of the alpha that stays. */
const LIMIT = 2 ** -21;

/**
 * Compares an adapter that was read again with the one that was trained: the same modules, A and row lengths bit for bit, and
 * scale · B, since forms with one alpha for all modules carry a module's own in B. Ranks beyond a module's own must be zeros,
 * with which forms of one rank fill up. Throws an ExportError naming the first tensor that differs.
 */
export function checkAdapterTensors(trained: Adapter, found: Adapter): WeightsReport {
  const report: WeightsReport = { tensors: 0, exact: 0, rounded: [] };
  const compare = (name: string, meant: Float32Array | undefined, read: Float32Array | undefined, scales: [number, number]): void => {
    const error = meant && read && meant.length === read.length ? largestError(meant, read, scales) : Infinity;
    report.tensors++;
    if (error === 0) report.exact++;
    else if (error <= LIMIT) noteRounded(report, name, error);
    else throw new ExportError(`${name} differs from the trained adapter when the file is read again, so no file was kept; export again.`);
  };
  const paths = adaptedPaths(trained);
  if (adaptedPaths(found).length !== paths.length) {
    throw new ExportError(`the file adapts ${adaptedPaths(found).length} modules when it is read again, and ${paths.length} were trained; export again.`);
  }
  for (const path of paths) {
    const [a, b] = [peftName(path, 'A'), peftName(path, 'B')];
    const scales: [number, number] = [loraScale(trained.config, path), loraScale(found.config, path)];
    const rank = loraRank(trained.config, path);
    compare(a, trained.tensors.get(a)?.data, ofRank(found.tensors.get(a), 0, rank), [1, 1]);
    compare(b, trained.tensors.get(b)?.data, ofRank(found.tensors.get(b), 1, rank), Math.abs(scales[0] / scales[1] - 1) < 1e-12 ? [1, 1] : scales);
    if (trained.config.use_dora) compare(`${path}.lora_magnitude_vector`, trained.magnitudes.get(path), found.magnitudes.get(path), [1, 1]);
  }
  return report;
}

/** A tensor's values up to a rank, which runs along dimension `ranks`; undefined where it has fewer, or others than zeros beyond. */
function ofRank(tensor: AdapterTensor | undefined, ranks: 0 | 1, rank: number): Float32Array | undefined {
  if (!tensor || tensor.shape[ranks] < rank) return undefined;
  const [, columns] = tensor.shape;
  const within = (_: number, i: number): boolean => (ranks === 0 ? Math.floor(i / columns) : i % columns) < rank;
  return tensor.data.some((value, i) => value !== 0 && !within(value, i)) ? undefined : tensor.data.filter(within);
}

function noteRounded(report: WeightsReport, worst: string, error: number): void {
  const line = report.rounded[0];
  if (!line) report.rounded.push({ type: 'F32', tensors: 1, error, limit: LIMIT, worst });
  else {
    line.tensors++;
    if (error > line.error) Object.assign(line, { error, worst });
  }
}

/** The largest difference as a share of the largest value. */
function largestError(meant: Float32Array, read: Float32Array, [a, b]: [number, number]): number {
  let [error, largest] = [0, 0];
  for (let i = 0; i < meant.length; i++) {
    const off = Math.abs(a * meant[i]! - b * read[i]!);
    if (!(off <= error)) error = off;
    largest = Math.max(largest, Math.abs(a * meant[i]!));
  }
  return error === 0 ? 0 : error / largest;
}
