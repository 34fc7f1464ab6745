import { describe, expect, it } from 'vitest';
import { RecipeError } from '../../src/core/errors';
import { parseRecipe, withinContext } from '../../src/training/recipe';

const least = { model: 'm.gguf', dataset: { path: 'rows.jsonl' } };

describe('a recipe', () => {
  it('fills in every default from its two files alone', () => {
    const recipe = parseRecipe(least);
    expect(recipe.lora?.r).toBe(16);
    expect(recipe.training.gradient_accumulation_steps).toBe(8);
    expect(recipe.lora?.target_modules).toBe('all-linear');
  });

  it('trains every weight where lora is null', () => {
    expect(parseRecipe({ ...least, lora: null }).lora).toBeNull();
  });

  it('names the first field that cannot be', () => {
    expect(() => parseRecipe({ ...least, lora: { r: 0 } })).toThrow(RecipeError);
    expect(() => parseRecipe({ ...least, lora: { r: 0 } })).toThrow(/lora\.r/);
    expect(() => parseRecipe({ ...least, training: { learning_rat: 1 } })).toThrow(/learning_rat/);
  });

  it('keeps a length it leaves open within the model’s context, and leaves a named one to be refused', () => {
    expect(withinContext(least, 512).training.max_length).toBe(512);
    expect(withinContext(least, 8192).training.max_length).toBe(1024);
    expect(withinContext({ ...least, training: { max_length: 2048 } }, 512).training.max_length).toBe(2048);
  });
});
