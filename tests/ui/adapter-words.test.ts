import { describe, expect, it } from 'vitest';
import { disagreement, distinctName, followAdapter, formatStrength, originWords, sizeWords, useOf, workWords } from '../../src/ui/adapter-words';
import { readRecipeLink, recipeLink } from '../../src/ui/recipe-link';
import { parseRecipe, PROJECTIONS, type AdapterSummary, type Recipe } from '../../src/workers/api';

const recipe = parseRecipe({ model: 'm', dataset: { path: 'd' }, lora: { lora_dropout: 0.1 } });
const lora = recipe.lora!;
const ALL = PROJECTIONS.slice(0, 7);
const shape: AdapterSummary['lora'] = {
  ...{ r: 4, lora_alpha: 8, target_modules: ['q_proj', 'v_proj'], use_rslora: false, use_dora: false, rank_pattern: { up_proj: 2 }, alpha_pattern: {} },
};
const pirate = { id: 'adapter:1', name: 'Pirate', lora: shape };
const about = { madeFor: null, modelName: 'odd', parts: [] };

describe('words about adapters', () => {
  it('say where one comes from', () => {
    expect(originWords({ ...about, origin: 'run' })).toBe('trained here');
    expect(originWords({ ...about, origin: 'imported' })).toBe('imported');
    expect(originWords({ ...about, origin: 'imported', madeFor: 'odd' })).toBe('imported');
    expect(originWords({ ...about, origin: 'imported', madeFor: 'org/model' })).toBe('imported, made for org/model');
    expect(originWords({ ...about, origin: 'merged', parts: [{ name: 'A', weight: 0.7 }, { name: 'B', weight: -0.30000000004 }] })).toBe('merged: 0.7 × A + -0.3 × B');
  });

  it('tell those of the same name apart', () => {
    const list = [{ name: 'Demo', createdAt: Date.now() }, { name: 'Demo', createdAt: Date.now() - 3_600_000 }, { name: 'Poet', createdAt: 0 }];
    expect(list.map((one) => distinctName(one, list))).toEqual(['Demo, just now', 'Demo, 1 hour ago', 'Poet']);
  });

  it('say how large one is', () => {
    expect(sizeWords({ ...shape, rank_pattern: {} })).toBe('size 4');
    expect(sizeWords({ ...shape, rank_pattern: { up_proj: 16 }, use_dora: true })).toBe('sizes up to 16 (DoRA)');
  });

  it('say who answers, and how strongly', () => {
    const on = { on: true, strength: 1 };
    const poet = { name: 'Poet', on: true, strength: 0.3 };
    expect(workWords(on, [])).toBe('adapter on');
    expect(workWords({ on: true, strength: 0.5 }, [])).toBe('adapter at 0.5');
    expect(workWords({ on: false, strength: 1 }, [])).toBe('switched off: answers as Base');
    expect(workWords({ on: true, strength: 0 }, [{ ...poet, on: false }])).toBe('switched off: answers as Base');
    expect(workWords(on, [poet])).toBe('adapter on, with Poet at 0.3');
    expect(workWords({ on: false, strength: 1 }, [poet])).toBe('adapter off, Poet at 0.3 on');
    expect(workWords(null, [poet, { name: 'Cook', ...on }])).toBe('Poet at 0.3, Cook');
    expect(formatStrength(1.15)).toBe('1.15');
  });

  it('send a strength of 0 for what is switched off', () => {
    expect(useOf({ id: 'a', on: false, strength: 0.7 })).toEqual({ id: 'a', strength: 0 });
    expect(useOf({ id: 'a', on: true, strength: 0.7 })).toEqual({ id: 'a', strength: 0.7 });
  });
});

describe('an adapter to start from', () => {
  it('gives the settings its shape, and leaves what belongs to training', () => {
    const followed = followAdapter(lora, pirate);
    expect(followed).toMatchObject({ ...shape, lora_dropout: 0.1, init_adapter: 'adapter:1' });
    expect(parseRecipe({ ...recipe, lora: followed }).lora).toEqual(followed);
    expect(disagreement(followed, pirate, ALL)).toBeNull();
  });

  it.each([
    [{ r: 8 }, 'Pirate has the size 4, and the settings ask for 8.'],
    [{ rank_pattern: {} }, 'Pirate has other sizes in single layers than the settings ask for.'],
    [{ target_modules: 'all-linear' as const }, 'Pirate is on other layers than the settings choose.'],
    [{ use_dora: true }, 'Pirate is not of the DoRA kind, and the settings ask for that kind.'],
  ])('is named with what differs: %j', (change: Partial<NonNullable<Recipe['lora']>>, words) => {
    expect(disagreement({ ...followAdapter(lora, pirate), ...change }, pirate, ALL)).toBe(words);
  });

  it('agrees where layers are the same in other words, and whatever the strength', () => {
    const everywhere = { ...pirate, lora: { ...shape, target_modules: [...ALL].reverse() } };
    expect(disagreement({ ...followAdapter(lora, everywhere), target_modules: 'all-linear', lora_alpha: 99 }, everywhere, ALL)).toBeNull();
  });

  it('is never in a link to the settings', () => {
    const started = { ...recipe, lora: followAdapter(lora, pirate) };
    const link = recipeLink('https://hone.example/', 'org/model', started, recipe);
    expect(link).toContain('rank=4');
    expect(link).not.toContain('adapter');
    const { changes } = readRecipeLink(new URLSearchParams(`${link.split('?')[1]}&init_adapter=adapter%3A1&lora.init_adapter=adapter%3A1`));
    expect(changes.map(({ field }) => field.path)).not.toContain('lora.init_adapter');
  });
});
