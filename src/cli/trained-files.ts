import { join } from 'node:path';
import type { ModelSource } from '../core/model';
import { peftFiles } from '../exports/peft';
import type { CardFacts } from '../exports/model-card';
import { folderFiles } from '../exports/safetensors-model';
import type { Checkpoint, CheckpointStore } from '../storage/checkpoints';
import { loraWords, type Recipe } from '../training/recipe';
import { trainedOf } from '../training/trained';
import { writeFiles } from './files';

/** Writes what a run has learned beside its checkpoints: OUT/adapter as PEFT has it, or OUT/model with every weight. */
export async function writeTrained({ recipe, model }: { recipe: Recipe; model: ModelSource }, checkpoints: CheckpointStore, out: string): Promise<void> {
  const loaded = await checkpoints.load('best');
  if (!loaded) return console.log('Nothing was saved, so there is nothing to write.');
  const { checkpoint } = loaded;
  const trained = trainedOf(checkpoint, model.config);
  const which = checkpoint.best?.step === checkpoint.step ? `step ${checkpoint.step}, the best held-out loss` : `step ${checkpoint.step}, the last`;
  if (trained.kind === 'weights') {
    const weights = new Map([...trained.weights].map(([name, { data }]) => [name, data]));
    await writeFiles(join(out, 'model'), await folderFiles({ model, type: 'F32', weights, tokenizer: null }));
    console.log(`Wrote ${join(out, 'model')} (${which})`);
    return;
  }
  await writeFiles(join(out, 'adapter'), peftFiles({ adapter: trained.adapter, card: cardFacts(recipe, model, checkpoint), textPath: model.textPath }));
  console.log(`Wrote ${join(out, 'adapter')} (${which})`);
}

/** What a model card says of a run. */
export function cardFacts(recipe: Recipe, model: ModelSource, { step, best }: Checkpoint): CardFacts {
  const dataset = recipe.dataset.path.split(/[\\/]/).at(-1)!;
  const { lora, training } = recipe;
  const facts = [
    { label: 'Data set', value: dataset },
    { label: 'Steps', value: String(step) },
    { label: 'Learning rate', value: `${training.learning_rate} (${training.lr_scheduler_type})` },
    ...(lora ? [{ label: 'LoRA', value: loraWords(lora) }] : []),
    ...(best?.step === step ? [{ label: 'Held-out loss', value: best.loss.toFixed(4) }] : []),
  ];
  return { name: `${model.name} on ${dataset}`, baseModel: model.name, facts };
}
