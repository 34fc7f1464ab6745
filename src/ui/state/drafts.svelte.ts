import { parseRecipe, type DatasetFormat, type Recipe, type RunSummary } from '../../workers/api';
import { applyPreset, type Preset } from '../recipe-form';

/** A run that has not started: everything chosen so far. Kept at once, so that a reload loses nothing. */
export interface Draft {
  id: string;
  name: string;
  modelName: string;
  datasetName: string;
  /** Hub id that a recipe link asked for; the model step offers it. */
  base: string;
  preset: Preset;
  /** How rows are read where a person chose it; null: as detected. */
  format: DatasetFormat | null;
  /** `model` and `dataset.path` are empty until chosen. */
  recipe: Recipe;
  updatedAt: number;
}

const KEY = 'hone.drafts';

function readKept(): Draft[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    if (!Array.isArray(kept)) return [];
    return kept.flatMap((draft: Draft) => {
      try {
        return [{ ...draft, recipe: parseRecipe(draft.recipe) }];
      } catch {
        // A draft written by another version, whose recipe no longer parses, cannot be shown as a form.
        return [];
      }
    });
  } catch {
    return [];
  }
}

class Drafts {
  list = $state<Draft[]>(readKept());

  constructor() {
    $effect.root(() => {
      $effect(() => {
        const text = JSON.stringify(this.list);
        localStorage.setItem(KEY, text);
      });
    });
  }

  get(id: string): Draft | undefined {
    return this.list.find((draft) => draft.id === id);
  }

  create(name = 'Untitled run'): Draft {
    const recipe = parseRecipe({ model: '', dataset: { path: '' } });
    const draft: Draft = {
      id: `new-${crypto.randomUUID().slice(0, 8)}`,
      name,
      modelName: '',
      datasetName: '',
      base: '',
      preset: 'balanced',
      format: null,
      recipe: applyPreset(recipe, 'balanced'),
      updatedAt: Date.now(),
    };
    this.list.unshift(draft);
    return this.list[0]!;
  }

  /** A new draft with a started run's model, data and settings; the run itself stays as it is. */
  duplicate(run: RunSummary): Draft {
    const draft = this.create(`${run.name} copy`);
    draft.modelName = run.modelName;
    draft.datasetName = run.datasetName;
    draft.recipe = parseRecipe($state.snapshot(run.recipe));
    draft.format = run.recipe.dataset.format ?? null;
    draft.preset = 'own';
    return draft;
  }

  remove(id: string): void {
    this.list = this.list.filter((draft) => draft.id !== id);
  }
}

export const drafts = new Drafts();
