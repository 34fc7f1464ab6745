import { describe, expect, it } from 'vitest';
import { parseRecipe, RECIPE_FIELDS } from '../../src/workers/api';
import { applyPreset, changedFields, fieldComplaint, fieldKind, readField, writeField } from '../../src/ui/recipe-form';
import { readRecipeLink, recipeLink } from '../../src/ui/recipe-link';

const empty = () => parseRecipe({ model: '', dataset: { path: '' } });
const field = (path: string) => RECIPE_FIELDS.find((entry) => entry.path === path)!;

describe('the settings form', () => {
  it('reads and writes every field that is shown, and stays a valid recipe', () => {
    for (const { path } of RECIPE_FIELDS) {
      const recipe = empty();
      writeField(recipe, path, readField(recipe, path));
      expect(parseRecipe(recipe), path).toEqual(empty());
    }
  });

  it('knows a default for every field that is not optional', () => {
    for (const { path } of RECIPE_FIELDS) {
      if (fieldKind(path) !== 'optional-number') expect(readField(empty(), path), path).toBeDefined();
    }
  });

  it('finds no fault with any default', () => {
    for (const entry of RECIPE_FIELDS) expect(fieldComplaint(entry, readField(empty(), entry.path)), entry.path).toBeNull();
  });

  it('refuses a value outside of its range', () => {
    expect(fieldComplaint(field('lora.r'), 0)).toBe('At least 1.');
    expect(fieldComplaint(field('lora.r'), 300)).toBe('At most 256.');
    expect(fieldComplaint(field('lora.target_modules'), [])).toBe('Choose at least one.');
  });

  it('keeps model, data and questions when a preset is chosen', () => {
    const recipe = parseRecipe({ model: 'm', dataset: { path: 'd' }, sample_prompts: ['Hi?'] });
    const thorough = applyPreset(recipe, 'thorough');
    expect([thorough.model, thorough.dataset.path, thorough.sample_prompts, thorough.lora?.r]).toEqual(['m', 'd', ['Hi?'], 32]);
  });

  it('never asks for rows longer than the model reads', () => {
    expect(applyPreset(empty(), 'thorough', 512).training.max_length).toBe(512);
  });

  it('lists exactly the fields that differ', () => {
    const recipe = empty();
    writeField(recipe, 'lora.r', 24);
    writeField(recipe, 'training.max_steps', 9);
    expect(changedFields(recipe, empty()).map(({ path }) => path)).toEqual(['lora.r', 'training.max_steps']);
  });
});

describe('a recipe link', () => {
  const parameters = (link: string) => new URLSearchParams(link.split('?')[1]);

  it('carries only what differs and comes back the same', () => {
    const recipe = empty();
    writeField(recipe, 'lora.r', 24);
    writeField(recipe, 'lora.target_modules', ['q_proj', 'v_proj']);
    writeField(recipe, 'training.packing', false);
    const link = recipeLink('https://example.org/', 'owner/model', recipe, empty());
    expect([...parameters(link).keys()]).toEqual(['v', 'base', 'rank', 'layers', 'packing']);
    const read = readRecipeLink(parameters(link));
    expect(read.base).toBe('owner/model');
    expect(read.refused).toEqual([]);
    const again = empty();
    for (const change of read.changes) writeField(again, change.field.path, change.value);
    expect(again).toEqual(recipe);
  });

  it('names what it does not understand instead of using it', () => {
    const read = readRecipeLink(new URLSearchParams('v=1&rank=9999&colour=red&rate=fast&learn=nothing&steps=2.5'));
    expect(read.changes).toEqual([]);
    expect(read.refused).toEqual(['rank=9999', 'colour=red', 'rate=fast', 'learn=nothing', 'steps=2.5']);
  });
});
