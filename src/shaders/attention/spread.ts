import type { DeviceTraits } from '../../runtime/device';

/** Rows (keys, or queries for dk and dv) whose scores a thread holds in registers at once. */
const BLOCK = 16;

/**
 * All threads of an attention workgroup need the same rows at the same time. A GPU's caches serve one address to all lanes
 * at once, so there each thread simply reads them (`LANES` is 1). Where a load costs as much as dozens of multiplications
 * (a CPU playing GPU), each of a subgroup's `LANES` threads reads one row, `row + sub`, and `from_lane` hands it round.
 */
export function spreadRows(traits: DeviceTraits, source: string): { source: string; sizes: { BLOCK: number; LANES: number } } {
  const { software, subgroupSize } = traits;
  if (software && subgroupSize >= 4 && BLOCK % subgroupSize === 0) {
    const shuffle = 'fn from_lane(value: vecN, lane: u32) -> vecN { return subgroupShuffle(value, lane); }';
    return { source: ['enable subgroups;', shuffle, source].join('\n'), sizes: { BLOCK, LANES: subgroupSize } };
  }
  const own = 'const sub = 0u;\nfn from_lane(value: vecN, lane: u32) -> vecN { return value; }';
  return { source: [own, source.replace(', @builtin(subgroup_invocation_id) sub: u32', '')].join('\n'), sizes: { BLOCK, LANES: 1 } };
}
