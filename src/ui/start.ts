import type { AdapterSummary } from '../workers/api';
import { drafts } from './state/drafts.svelte';
import { router, runHash } from './state/router.svelte';
import { training } from './state/training.svelte';
import { workspace } from './state/workspace.svelte';

/** Questions like those in the sample data, whose answers visibly change. */
const DEMO_PROMPTS = ['What colour is the bear?', 'Tell me a story about a cow.'];

/**
 * Opens the demo model and the demo data, starts a short training and shows it. Each part appears on
 * the Train step as it comes; where one fails, the draft stays there with what is missing.
 */
export async function startDemo(): Promise<void> {
  const draft = drafts.create('Demo');
  router.go(runHash(draft.id, 'train'));
  await workspace.show(draft);
  await workspace.openModel({ kind: 'demo' });
  if (!workspace.model) return;
  workspace.applyPreset('quick');
  draft.recipe.sample_prompts = [...DEMO_PROMPTS];
  Object.assign(draft.recipe.training, {
    learning_rate: 2e-3,
    max_length: Math.min(128, workspace.model.contextLength),
    max_steps: 40,
    per_device_train_batch_size: 1,
    gradient_accumulation_steps: 1,
    eval_steps: 10,
    sample_steps: 10,
    save_steps: 10,
  });
  draft.recipe.dataset.eval_fraction = 0.05;
  await workspace.openData({ kind: 'demo' });
  if (workspace.dataset && workspace.draft?.id === draft.id && workspace.missing.length === 0) await startDraft();
}

/** A draft that trains an adapter further: its model is chosen, its data is asked for. */
export async function startFromAdapter(adapter: AdapterSummary): Promise<void> {
  const draft = drafts.create(`${adapter.name} further`);
  draft.recipe.model = adapter.modelId;
  draft.modelName = adapter.modelName;
  router.go(runHash(draft.id, 'model'));
  await workspace.show(draft);
  workspace.startFrom(adapter);
}

/** Starts the draft on screen. It becomes a run, which is then on screen in its place. */
export async function startDraft(): Promise<void> {
  const { draft } = workspace;
  if (!draft) return;
  router.go(runHash(draft.id, 'train'));
  const id = await training.start(workspace.recipe(), draft.name.trim() || 'Untitled run');
  if (!id) return;
  workspace.leave();
  const wasShown = router.route.screen === 'run' && router.route.id === draft.id;
  drafts.remove(draft.id);
  if (wasShown) router.go(runHash(id, 'train'), true);
}
