import { batchTokens } from '../core/batch';
import type { Example } from '../core/example';

/** Examples that share a row, unseen by each other. */
export type PackedRow = Example[];

/**
 * Puts examples into rows of at most `maxLength` tokens, the same way every time. `anyOrder` fills rows well (longest
 * examples first, each into the first row with room); otherwise the examples' order is kept, and a row
 * ends where the next example does not fit.
 */
export function packExamples(examples: readonly Example[], maxLength: number, anyOrder: boolean): PackedRow[] {
  const sized = examples.map((example) => ({ example, tokens: batchTokens(example, maxLength) }));
  if (!anyOrder) return packInOrder(sized, maxLength);
  const rows: PackedRow[] = [];
  const room = new RoomTree(examples.length);
  for (const { example, tokens } of sized.sort((a, b) => b.tokens - a.tokens || a.example.row - b.example.row)) {
    let row = room.firstWith(tokens);
    if (row < 0) {
      row = rows.length;
      rows.push([]);
      room.set(row, maxLength);
    }
    rows[row]!.push(example);
    room.set(row, room.get(row) - tokens);
  }
  return rows;
}

function packInOrder(sized: readonly { example: Example; tokens: number }[], maxLength: number): PackedRow[] {
  const rows: PackedRow[] = [];
  let room = -1;
  for (const { example, tokens } of sized) {
    if (tokens > room) {
      rows.push([]);
      room = maxLength;
    }
    rows.at(-1)!.push(example);
    room -= tokens;
  }
  return rows;
}

/** Free tokens a row, with the maximum of every half above it: finds the first row with room in logarithmic time. */
class RoomTree {
  private readonly leaves: number;
  private readonly most: Int32Array;

  constructor(rows: number) {
    this.leaves = 1 << Math.ceil(Math.log2(Math.max(rows, 2)));
    this.most = new Int32Array(2 * this.leaves).fill(-1);
  }

  get(row: number): number {
    return this.most[this.leaves + row]!;
  }

  set(row: number, room: number): void {
    let node = this.leaves + row;
    this.most[node] = room;
    for (node >>= 1; node >= 1; node >>= 1) this.most[node] = Math.max(this.most[2 * node]!, this.most[2 * node + 1]!);
  }

  /** The first row with at least `tokens` free, or -1. */
  firstWith(tokens: number): number {
    if (this.most[1]! < tokens) return -1;
    let node = 1;
    while (node < this.leaves) node = this.most[2 * node]! >= tokens ? 2 * node : 2 * node + 1;
    return node - this.leaves;
  }
}
