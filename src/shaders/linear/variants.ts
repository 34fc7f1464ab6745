import type { DeviceTraits } from '../../runtime/device';
import type { QuadReader } from './readers';
import type { RegisterTile } from './registers';

/** One subgroup in a row that hands the left side round: only where arithmetic is cheap beside loads. */
function broadcasts(traits: DeviceTraits): boolean {
  return traits.software && (traits.subgroupSize === 4 || traits.subgroupSize === 8);
}

function tile(traits: DeviceTraits, rows: number, columns: number): RegisterTile {
  if (broadcasts(traits)) {
    const lanes = traits.subgroupSize;
    return { rows: Math.ceil(rows / lanes) * lanes, columns, lanesX: lanes, lanesY: 1, broadcast: true };
  }
  return { rows, columns, lanesX: 8, lanesY: 8, broadcast: false };
}

/** Products below this many multiplications run too short for a large tile to win back its compile time on a CPU. */
const SMALL_PRODUCT = 2 ** 25;

/** The tile of y = x·Wᵀ for up to `rows` rows of K values and N results a row. */
export function ntTile(traits: DeviceTraits, rows: number, N: number, K: number, weight: QuadReader): RegisterTile {
  if (!broadcasts(traits)) return tile(traits, Math.min(8, rows), Math.min(4, Math.ceil(N / 8)));
  const columns = Math.ceil(N / traits.subgroupSize);
  if (rows * N * K < SMALL_PRODUCT) return tile(traits, Math.min(16, rows), Math.min(4, columns));
  // Words of two quads make the right side cheap: more of its columns save more of the left side's loads.
  return weight.quadsPerWord === 2 ? tile(traits, Math.min(16, rows), Math.min(8, columns)) : tile(traits, Math.min(32, rows), Math.min(4, columns));
}

/** The tile of dx = dy·W for up to `rows` rows of N values and K results a row. */
export function nnTile(traits: DeviceTraits, rows: number, N: number, K: number, weight: QuadReader): RegisterTile {
  if (!broadcasts(traits)) return tile(traits, Math.min(weight.quadsPerWord === 2 ? 4 : 8, rows), 1);
  return tile(traits, Math.min(rows * N * K < SMALL_PRODUCT ? 16 : 32, rows), 1);
}

/** The tile of dW = dyᵀ·x for N rows of K columns, and how many columns are read at once. */
export function tnTile(traits: DeviceTraits, rows: number, N: number, K: number): { tile: RegisterTile; unit: 1 | 4 } {
  const unit = K % 4 === 0 && K >= 32 ? 4 : 1;
  const largest = broadcasts(traits) ? (rows * N * K < SMALL_PRODUCT ? 16 : 32) : 4;
  return { tile: tile(traits, Math.min(largest, N), unit === 4 ? 1 : Math.min(4, Math.ceil(K / 8))), unit };
}

/** Rows of one chunk of the sum over tokens: enough chunks to fill the device where the result itself has few tiles. */
export function tnChunk(traits: DeviceTraits, rows: number, tiles: number): number {
  const wanted = Math.ceil((traits.software ? 8 : 256) / tiles);
  return Math.max(32, Math.ceil(rows / wanted));
}
