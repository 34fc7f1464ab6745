import type { DeviceTraits } from '../../runtime/device';
import { gemv, gemvGroups } from './gemv';
import type { Columns, QuadReader } from './readers';
import { nnRegisters, ntRegisters, tileColumns, tileRows, tnRegisters, type RegisterTile, type Store } from './registers';
import { nnShared, ntShared, sharedTileSize, tnShared, type SharedTile } from './shared-memory';

/**
 * Which kernel makes a product on a device: a software adapter with known subgroups takes registers and broadcasts, a
 * GPU takes workgroup memory, and whatever has neither takes plain registers. The choice depends on the device's traits
 * and the program's sizes alone, so that runs repeat bit for bit.
 */
export interface ProductKernel {
  kind: 'matmul' | 'gemv';
  code: string;
  /** Workgroups for a number of rows of x. */
  groups: (rows: number) => number;
}

/** Up to this many rows a product is bound by reading the weight alone. */
const GEMV_ROWS = 4;

/** Products below this many multiplications run too short for a large tile to win back its compile time on a CPU. */
const SMALL_PRODUCT = 2 ** 25;

/** Tiles that keep a GPU busy: fewer than these, and smaller tiles are better. */
const BUSY_TILES = 192;

/**
 * A function of plain data that is worked out once for the same arguments: a model's layers ask for the same few kernels
 * over and over, and writing one out takes longer than everything else about recording it.
 */
function remembered<A extends unknown[], R>(make: (...args: A) => R): (...args: A) => R {
  const made = new Map<string, R>();
  return (...args) => {
    const key = JSON.stringify(args);
    const known = made.get(key) ?? make(...args);
    made.set(key, known);
    return known;
  };
}

/** One subgroup in a row that hands values round: only where arithmetic is cheap beside loads. */
function broadcasts({ software, subgroupSize }: DeviceTraits): boolean {
  return software && (subgroupSize === 4 || subgroupSize === 8);
}

/** Workgroup memory is no faster than any other on a CPU. */
function shares({ software, maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize }: DeviceTraits): boolean {
  return !software && maxComputeInvocationsPerWorkgroup >= 64 && maxComputeWorkgroupStorageSize >= 8192;
}

function registerTile(traits: DeviceTraits, rows: number, columns: number): RegisterTile {
  if (!broadcasts(traits)) return { rows, columns, lanesX: 8, lanesY: 8, broadcast: false };
  const lanes = traits.subgroupSize;
  return { rows: Math.ceil(rows / lanes) * lanes, columns, lanesX: lanes, lanesY: 1, broadcast: true };
}

function sharedTile(rows: number, columns: number): SharedTile {
  const large = Math.ceil(rows / 64) * Math.ceil(columns / 64) >= BUSY_TILES;
  return large ? { rows: 8, columns: 8 } : { rows: 4, columns: 4 };
}

/** Left rows a broadcasting invocation takes: what fits the registers, and pays for its compile time. */
function broadcastRows({ subgroupSize }: DeviceTraits, multiplications: number): number {
  return subgroupSize === 4 || multiplications < SMALL_PRODUCT ? 16 : 32;
}

/** y = x·Wᵀ for up to `rows` rows, and a weight of N rows and K columns. */
export const ntKernel = remembered(
  (traits: DeviceTraits, rows: number, weight: QuadReader, N: number, K: number, store: Store): ProductKernel => {
    if (rows <= GEMV_ROWS) {
      const tile = { rows, outputs: broadcasts(traits) ? 2 : 4, broadcast: broadcasts(traits) ? traits.subgroupSize : 0 };
      return { kind: 'gemv', code: gemv(tile, weight, N, K, store), groups: () => gemvGroups(tile, N) };
    }
    if (shares(traits)) {
      const tile = sharedTile(rows, N);
      return { kind: 'matmul', code: ntShared(tile, weight, N, K, store), groups: sharedGroups(tile, N) };
    }
    const tile = ntTile(traits, rows, weight, N, K);
    return { kind: 'matmul', code: ntRegisters(tile, weight, N, K, store), groups: registerGroups(tile, N) };
  },
);

function ntTile(traits: DeviceTraits, rows: number, weight: QuadReader, N: number, K: number): RegisterTile {
  if (!broadcasts(traits)) return registerTile(traits, Math.min(8, rows), Math.min(4, Math.ceil(N / 8)));
  const columns = Math.ceil(N / traits.subgroupSize);
  if (traits.subgroupSize === 4) return registerTile(traits, Math.min(8, rows), Math.min(4, columns));
  // Words of two quads make the right side cheap: more of its columns save more of the left side's loads.
  if (weight.quadsPerWord === 2 && rows * N * K >= SMALL_PRODUCT) return registerTile(traits, Math.min(16, rows), Math.min(8, columns));
  return registerTile(traits, Math.min(broadcastRows(traits, rows * N * K), rows), Math.min(4, columns));
}

/** dx = dy·W for up to `rows` rows, and a weight of N rows and K columns. */
export const nnKernel = remembered(
  (traits: DeviceTraits, rows: number, weight: QuadReader, N: number, K: number, dy: Columns, store: Store): ProductKernel => {
    if (shares(traits)) {
      const tile = sharedTile(rows, K);
      return { kind: 'matmul', code: nnShared(tile, weight, N, K, dy, store), groups: sharedGroups(tile, K) };
    }
    const most = broadcasts(traits) ? broadcastRows(traits, rows * N * K) : 8 / weight.quadsPerWord;
    const tile = registerTile(traits, Math.min(most, rows), 1);
    return { kind: 'matmul', code: nnRegisters(tile, weight, N, K, dy, store), groups: registerGroups(tile, weight.words) };
  },
);

/** dW = dyᵀ·x over chunks of tokens. */
export interface ChunkedKernel {
  /** Tokens of a chunk. */
  chunk: number;
  /** The kernel, whose result the chunks' sums are; `add` where there is one chunk that is added to what is there. */
  code: (add: boolean) => string;
  groups: (rows: number) => number;
}

export const tnKernel = remembered((traits: DeviceTraits, rows: number, N: number, K: number): ChunkedKernel => {
  const { tiles, code } = shares(traits) ? tnSharedTiles(rows, N, K) : tnRegisterTiles(traits, rows, N, K);
  const chunk = tnChunk(traits, rows, tiles);
  return { chunk, code: remembered((add: boolean) => code(chunk, add)), groups: (count) => tiles * Math.ceil(count / chunk) };
});

interface TnTiles {
  tiles: number;
  code: (chunk: number, add: boolean) => string;
}

function tnSharedTiles(rows: number, N: number, K: number): TnTiles {
  const tile = sharedTile(N, K);
  const [height, width] = sharedTileSize(tile);
  return { tiles: Math.ceil(N / height) * Math.ceil(K / width), code: (chunk, add) => tnShared(tile, N, K, chunk, add) };
}

function tnRegisterTiles(traits: DeviceTraits, rows: number, N: number, K: number): TnTiles {
  const unit = K % 4 === 0 && K >= 32 ? 4 : 1;
  const most = broadcasts(traits) ? broadcastRows(traits, rows * N * K) : 4;
  const tile = registerTile(traits, Math.min(most, N), unit === 4 ? 1 : Math.min(4, Math.ceil(K / 8)));
  const tiles = Math.ceil(N / tileRows(tile)) * tileColumns(tile, Math.ceil(K / unit));
  return { tiles, code: (chunk, add) => tnRegisters(tile, N, K, chunk, unit, add) };
}

/** Tokens of a chunk: enough chunks to fill the device where the result itself has few tiles. A multiple of 4. */
function tnChunk(traits: DeviceTraits, rows: number, tiles: number): number {
  const wanted = Math.ceil((traits.software ? 8 : BUSY_TILES) / tiles);
  return Math.max(32, Math.ceil(rows / wanted / 4) * 4);
}

function registerGroups(tile: RegisterTile, columns: number): (rows: number) => number {
  return (rows) => Math.ceil(rows / tileRows(tile)) * tileColumns(tile, columns);
}

function sharedGroups(tile: SharedTile, columns: number): (rows: number) => number {
  const [height, width] = sharedTileSize(tile);
  return (rows) => Math.ceil(rows / height) * Math.ceil(columns / width);
}
