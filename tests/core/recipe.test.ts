import { describe, expect, it } from 'vitest';
import { RecipeError } from '../../src/core/errors';
import { loraConfig, parseRecipe, withinContext } from '../../src/training/recipe';
import { FAMILY_CONFIGS, TINY } from '../fixtures';

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

  it.each<[object, RegExp]>([
    [{ modules_to_save: ['lm_head'] }, /^lora\.modules_to_save: whole modules beside the adapter are not trained, because .* set lora to null/],
    [{ init_lora_weights: 'pissa' }, /^lora\.init_lora_weights: Hone draws fresh weights as PEFT does for true \(Kaiming\) and "gaussian"; PiSSA/],
    [{ target_modules: ['q_proj', 'lm_head'] }, /^lora\.target_modules\.1: give "all-linear" or a list of projections: q_proj/],
    [{ rank_pattern: { '(a+)+': 4 } }, /^lora\.rank_pattern\.\(a\+\)\+: the pattern repeats a group/],
    [{ alpha_pattern: { q_proj: 0 } }, /^lora\.alpha_pattern\.q_proj: /],
  ])('refuses %j with the reason', (lora, sentence) => {
    expect(() => parseRecipe({ ...least, lora })).toThrow(sentence);
  });

  it('names the modules of a model as shortly as can be', () => {
    const targets = (target_modules?: string[]) => loraConfig(parseRecipe({ ...least, lora: { ...(target_modules && { target_modules }) } }).lora!, TINY).target_modules;
    expect(targets()).toEqual(['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']);
    expect(targets(['layers.1.mlp.up_proj'])).toEqual(['model.layers.1.mlp.up_proj']);
    expect(() => targets(['q_proj', 'qkv_proj'])).toThrow('target_modules names qkv_proj, and the modules of this llama model are q_proj, k_proj');
    const fused = FAMILY_CONFIGS.find(({ model_type }) => model_type === 'phi3')!;
    expect(loraConfig(parseRecipe(least).lora!, fused).target_modules).toEqual(['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj']);
  });

  it('keeps a length it leaves open within the model’s context, and leaves a named one to be refused', () => {
    expect(withinContext(least, 512).training.max_length).toBe(512);
    expect(withinContext(least, 8192).training.max_length).toBe(1024);
    expect(withinContext({ ...least, training: { max_length: 2048 } }, 512).training.max_length).toBe(2048);
  });
});
