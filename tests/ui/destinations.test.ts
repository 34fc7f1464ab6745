import { describe, expect, it } from 'vitest';
import { FILE_TYPES } from '../../src/core/model';
import { EXPORT_KINDS } from '../../src/exports/kinds';
import { commandsFor, DESTINATIONS, GGUF_TYPES, refusal, type ExportForm } from '../../src/ui/destinations';
import { parseRecipe, type ExportPlan, type RecipeInput } from '../../src/workers/api';

const forms = DESTINATIONS.flatMap((destination) => destination.forms);
const recipe = (lora: RecipeInput['lora']) => parseRecipe({ model: 'm', dataset: { path: 'd' }, ...(lora !== undefined && { lora }) });
const refused = (lora: RecipeInput['lora']) => forms.filter((form) => refusal(form, recipe(lora)) !== null);

describe('where a model is taken to', () => {
  it('has a place for every kind of export and every type of file', () => {
    expect([...new Set(forms.map(({ kind }) => kind))].sort()).toEqual([...EXPORT_KINDS].sort());
    expect(GGUF_TYPES.map(({ type }) => type).sort()).toEqual([...FILE_TYPES].sort());
  });

  it('offers every form of a plain adapter', () => {
    expect(refused({})).toEqual([]);
  });

  it('says why a DoRA has no adapter for llama.cpp and Ollama, and leaves a whole model for each', () => {
    const names = refused({ use_dora: true }).map(({ kind, holds }: ExportForm) => `${kind} ${holds}`);
    expect(names).toEqual(['modelfile adapter', 'gguf-adapter adapter']);
    expect(refusal(refused({ use_dora: true })[0]!, recipe({ use_dora: true }))).toMatch(/DoRA.*take the whole model\.$/);
  });

  it('offers no adapter where every weight was trained', () => {
    expect(refused(null).length).toBeGreaterThan(0);
    expect(refused(null).every(({ holds }) => holds === 'adapter')).toBe(true);
  });

  it('puts the commands for the chosen program first', () => {
    const plan = { commands: [{ runs: 'llama.cpp', command: 'a' }, { runs: 'Ollama: add', command: 'b' }] } as ExportPlan;
    const ollama = DESTINATIONS.find(({ id }) => id === 'ollama')!;
    expect(commandsFor(plan, ollama).map(({ command }) => command)).toEqual(['b', 'a']);
  });
});
