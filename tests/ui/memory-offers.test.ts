import { describe, expect, it } from 'vitest';
import { memoryOffers } from '../../src/ui/memory-offers';
import { parseRecipe, type RecipeInput } from '../../src/workers/api';

const BITS = { none: 16, Q8_0: 8, Q4_0: 4 };

/** Offers for a model of 1,000 bytes in 16 bits and rows that need a byte a token. */
async function offersFor(settings: Partial<RecipeInput>, budget: number, quantizable = true): Promise<string[]> {
  const recipe = parseRecipe({ model: 'm', dataset: { path: 'd' }, ...settings });
  const offers = await memoryOffers({
    recipe,
    quantizable,
    budget,
    memoryWith: async (change) => {
      const changed = structuredClone(recipe);
      change(changed);
      return (1000 * BITS[changed.quantize_base]) / 16 + changed.training.max_length;
    },
  });
  return offers.map(({ label, bytes }) => `${label}: ${bytes}`);
}

describe('what makes a run fit', () => {
  it('is the base in as many bits as fit, or the longest halved length', async () => {
    expect(await offersFor({}, 1600)).toEqual(['Base in 8 bits (Q8_0): 1524', 'Length 512: 1512']);
    expect(await offersFor({}, 1300)).toEqual(['Base in 4 bits (Q4_0): 1274', 'Length 256: 1256']);
  });

  it('is both together where neither is enough', async () => {
    expect(await offersFor({}, 800)).toEqual(['Base in 4 bits (Q4_0), length 512: 762']);
  });

  it('goes on from what is chosen already', async () => {
    expect(await offersFor({ quantize_base: 'Q8_0' }, 1300)).toEqual(['Base in 4 bits (Q4_0): 1274', 'Length 512: 1012']);
    expect(await offersFor({ quantize_base: 'Q4_0' }, 800)).toEqual(['Length 512: 762']);
  });

  it('leaves the base alone where it is quantised already or all of it is trained', async () => {
    expect(await offersFor({}, 1300, false)).toEqual(['Length 256: 1256']);
    expect(await offersFor({ lora: null }, 1300)).toEqual(['Length 256: 1256']);
  });

  it('is nothing where nothing helps', async () => {
    expect(await offersFor({}, 100)).toEqual([]);
  });
});
