import type { DeviceTraits } from '../../runtime/device';
import type { QuadReader } from './readers';
import type { RegisterTile } from './registers';

const SQUARE = { lanesX: 8, lanesY: 8, broadcast: false };

/** The tile of y = x·Wᵀ for up to `rows` rows and `columns` results a row. */
export function ntTile(_traits: DeviceTraits, rows: number, columns: number): RegisterTile {
  return { rows: Math.min(8, rows), columns: columns <= 8 ? 1 : 4, ...SQUARE };
}

/** The tile of dx = dy·W for up to `rows` rows. */
export function nnTile(_traits: DeviceTraits, rows: number, weight: QuadReader): RegisterTile {
  return { rows: Math.min(weight.quadsPerWord === 2 ? 4 : 8, rows), columns: 1, ...SQUARE };
}

/** The tile of dW = dyᵀ·x, in quads. */
export function tnTile(_traits: DeviceTraits, N: number, K: number): RegisterTile {
  if (K <= 16) return { rows: 1, columns: 1, lanesX: Math.ceil(K / 4), lanesY: 16, broadcast: false };
  if (N <= 16) return { rows: 1, columns: 1, lanesX: 16, lanesY: Math.ceil(N / 4), broadcast: false };
  return { rows: 1, columns: 1, ...SQUARE };
}

/** Rows of one chunk of the sum over tokens: enough chunks to fill the device where the result itself has few tiles. */
export function tnChunk(traits: DeviceTraits, rows: number, tiles: number): number {
  const wanted = Math.ceil((traits.software ? 8 : 256) / tiles);
  return Math.max(32, Math.ceil(rows / wanted));
}
