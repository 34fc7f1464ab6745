import { describe, expect, it } from 'vitest';
import { parseRecipe, RECIPE_FIELDS } from '../../src/workers/api';
import { applyPreset, changedFields, chosenProjections, fieldComplaint, fieldKind, fieldText, patternMatches, readField, writeField } from '../../src/ui/recipe-form';
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
    expect(fieldComplaint(field('quantize_base'), 'Q5_0')).toBe('Choose one of the list.');
  });

  it('says what is wrong with a line of a pattern', () => {
    const ranks = (value: Record<string, number>) => fieldComplaint(field('lora.rank_pattern'), value);
    expect(ranks({ 'layers.0.mlp.up_proj': 8, '[qk]_proj': 4 })).toBeNull();
    expect(ranks({ up_proj: 1.5 })).toBe('up_proj: Enter a whole number from 1 to 4096.');
    expect(ranks({ '(up': 8 })).toBe('(up: This pattern is no regular expression.');
    expect(fieldComplaint(field('lora.alpha_pattern'), { up_proj: 1.5 })).toBeNull();
    expect(fieldComplaint(field('lora.alpha_pattern'), { up_proj: 0 })).toBe('up_proj: Enter a number above 0.');
  });

  it('counts the places of a model that a pattern means', () => {
    const phi = { layers: 3, projections: ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj'] as const };
    const matches = (key: string) => patternMatches({ ...phi, projections: [...phi.projections] }, key);
    expect(matches('qkv_proj')).toBe(3);
    expect(matches('layers.0.mlp.down_proj')).toBe(1);
    expect(matches('up_proj')).toBe(0);
    expect(matches('layers\\.[01]\\..*')).toBe(8);
  });

  it('names the chosen parts of any model', () => {
    const phi = ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj'];
    expect(chosenProjections('all-linear', phi)).toEqual({ chosen: phi, others: [] });
    expect(chosenProjections(['o_proj', 'q_proj'], phi)).toEqual({ chosen: ['o_proj'], others: ['q_proj'] });
    expect(fieldText('lora.target_modules', 'all-linear')).toBe('all');
    expect(fieldText('lora.target_modules', ['qkv_proj', 'o_proj'])).toBe('qkv, o');
    expect(fieldText('lora.rank_pattern', { up_proj: 8 })).toBe('up_proj: 8');
    expect(fieldText('lora.rank_pattern', {})).toBe('none');
    expect(fieldText('lora.init_lora_weights', true)).toBe('Uniform (Kaiming)');
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

  it('carries every variant of an adapter and what the base is held in', () => {
    const recipe = empty();
    recipe.quantize_base = 'Q4_0';
    Object.assign(recipe.lora!, { use_dora: true, init_lora_weights: 'gaussian', rank_pattern: { 'layers.0.mlp.up_proj': 8 }, alpha_pattern: { '[qk]_proj': 1.5 } });
    const link = recipeLink('https://example.org/', '', recipe, empty());
    expect([...parameters(link).keys()]).toEqual(['v', 'base_bits', 'dora', 'init', 'ranks', 'alphas']);
    const again = empty();
    for (const change of readRecipeLink(parameters(link)).changes) writeField(again, change.field.path, change.value);
    expect(again).toEqual(recipe);
    writeField(again, 'lora.init_lora_weights', true);
    const back = readRecipeLink(parameters(recipeLink('https://example.org/', '', again, recipe)));
    expect(back.changes.map(({ value }) => value)).toEqual([true]);
  });

  it('names what it does not understand instead of using it', () => {
    const read = readRecipeLink(new URLSearchParams('v=1&rank=9999&colour=red&rate=fast&learn=nothing&steps=2.5&layers=x_proj&ranks=8&base_bits=2'));
    expect(read.changes).toEqual([]);
    expect(read.refused).toEqual(['rank=9999', 'colour=red', 'rate=fast', 'learn=nothing', 'steps=2.5', 'layers=x_proj', 'ranks=8', 'base_bits=2']);
  });
});
