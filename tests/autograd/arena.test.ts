import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from '../../src/runtime/arena';
import { Dim, scratchTensor, tensorBytes, type Dispatch, type Tensor } from '../../src/runtime/program';

const kernel = { name: 'nothing', code: '' };

/** A program in which dispatch i reads and writes the tensors that its list names. */
function programOf(sizes: readonly number[], uses: readonly (readonly number[])[]): { tensors: Tensor[]; dispatches: Dispatch[] } {
  const tensors = sizes.map((size, i) => scratchTensor(`t${i}`, [new Dim('rows', size)]));
  const dispatches = uses.map((list): Dispatch => ({
    kernel,
    rows: 1,
    grid: () => [1, 1, 1],
    flopsPerRow: 0,
    bindings: [...new Set(list)].map((i) => ({ tensor: tensors[i % tensors.length]!, access: 'update' as const })),
  }));
  return { tensors, dispatches };
}

const programs = fc
  .array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 12 })
  .chain((sizes) => fc.tuple(fc.constant(sizes), fc.array(fc.uniqueArray(fc.nat(sizes.length - 1), { maxLength: 4 }), { maxLength: 20 })));

/** First and last dispatch of each tensor. */
function livesOf(dispatches: readonly Dispatch[]): Map<Tensor, [number, number]> {
  const lives = new Map<Tensor, [number, number]>();
  dispatches.forEach(({ bindings }, i) => bindings.forEach(({ tensor }) => lives.set(tensor, [lives.get(tensor)?.[0] ?? i, i])));
  return lives;
}

describe('the arena', () => {
  it('never gives two tensors one slot at the same time', () => {
    fc.assert(
      fc.property(programs, ([sizes, uses]) => {
        const { dispatches } = programOf(sizes, uses);
        const slots = new Arena().layout(dispatches);
        const lives = [...livesOf(dispatches)];
        expect(slots.size).toBe(lives.length);
        lives.forEach(([a, [firstA, lastA]], i) => {
          for (const [b, [firstB, lastB]] of lives.slice(i + 1)) {
            if (slots.get(a) === slots.get(b)) expect(lastA < firstB || lastB < firstA).toBe(true);
          }
        });
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('is at least as large as what is alive at once, and no larger than all together', () => {
    fc.assert(
      fc.property(programs, ([sizes, uses]) => {
        const { dispatches } = programOf(sizes, uses);
        const arena = new Arena();
        arena.layout(dispatches);
        const lives = [...livesOf(dispatches)];
        const aligned = (tensor: Tensor): number => Math.ceil(tensorBytes(tensor) / 256) * 256;
        const alive = dispatches.map((_, i) => lives.reduce((sum, [tensor, [first, last]]) => (first <= i && i <= last ? sum + aligned(tensor) : sum), 0));
        expect(arena.bytes).toBeGreaterThanOrEqual(Math.max(0, ...alive));
        expect(arena.bytes).toBeLessThanOrEqual(lives.reduce((sum, [tensor]) => sum + aligned(tensor), 0));
      }),
      { seed: 2, numRuns: 300 },
    );
  });

  it('is as large as the largest of the programs that share it', () => {
    const small = programOf([100, 200], [[0], [1]]).dispatches;
    const large = programOf([5000, 300], [[0, 1]]).dispatches;
    const bytes = (...programs: Dispatch[][]): number => {
      const arena = new Arena();
      for (const program of programs) arena.layout(program);
      return arena.bytes;
    };
    expect(bytes(small, large)).toBe(bytes(large));
    expect(bytes(large, small)).toBe(bytes(large));
    expect(bytes(small)).toBe(1024);
  });
});
