import { join } from 'node:path';
import type { ByteSource } from '../core/bytes';
import type { ModelSource } from '../core/model';
import { peftFiles } from '../exports/peft';
import type { CardFacts } from '../exports/model-card';
import { SafetensorsWriter } from '../safetensors/writer';
import type { Checkpoint, CheckpointStore } from '../storage/checkpoints';
import { FileSink } from '../storage/node-file';
import { loraWords, type Recipe } from '../training/recipe';
import { trainedOf, type Trained } from '../training/trained';
import { writeWhole } from './files';

/** Writes what a run has learned beside its checkpoints: OUT/adapter as PEFT has it, or OUT/model with every weight. */
export async function writeTrained({ recipe, model }: { recipe: Recipe; model: ModelSource }, checkpoints: CheckpointStore, out: string): Promise<void> {
  const loaded = await checkpoints.load('best');
  if (!loaded) return console.log('Nothing was saved, so there is nothing to write.');
  const { checkpoint } = loaded;
  const trained = trainedOf(checkpoint, model.config);
  const which = checkpoint.best?.step === checkpoint.step ? `step ${checkpoint.step}, the best held-out loss` : `step ${checkpoint.step}, the last`;
  if (trained.kind === 'weights') {
    if (!hasConfigJson(model)) return console.log(`The weights are in ${join(out, 'checkpoints')} (${which}); write them with "hone export ${out} --to gguf".`);
    await writeModelFolder(model, trained.weights, join(out, 'model'));
    console.log(`Wrote ${join(out, 'model')} (${which})`);
    return;
  }
  for (const { name, pieces } of peftFiles({ adapter: trained.adapter, card: cardFacts(recipe, model, checkpoint) })) {
    await writeWhole(join(out, 'adapter', name), pieces());
  }
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

/** Small files of a model's folder that go along unchanged. */
const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'generation_config.json', 'chat_template.jinja'];

type Weights = Extract<Trained, { kind: 'weights' }>['weights'];

/** A folder with config.json, model.safetensors in F32, and the tokenizer's files as the model has them. */
async function writeModelFolder(model: ModelSource, weights: Weights, folder: string): Promise<void> {
  for (const file of model.files) {
    const name = file.name.split('/').at(-1)!;
    if (TOKENIZER_FILES.includes(name)) await writeWhole(join(folder, name), [await file.read(0, file.size)]);
  }
  await writeWhole(join(folder, 'config.json'), [new TextEncoder().encode(`${JSON.stringify(await configJson(model), null, 2)}\n`)]);
  const sink = await FileSink.create(join(folder, 'model.safetensors'));
  try {
    const writer = await SafetensorsWriter.start(sink, [...weights].map(([name, { shape }]) => ({ name, type: 'F32', shape })), { format: 'pt' });
    for (const { data } of weights.values()) await writer.append(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    writer.finish();
  } catch (error) {
    await sink.abort();
    throw error;
  }
  await sink.close();
}

/** The model's own config.json where it has one; a GGUF's is written from its keys. */
async function configJson(model: ModelSource): Promise<object> {
  const own = configFile(model);
  if (own) return { ...(JSON.parse(new TextDecoder().decode(await own.read(0, own.size))) as object), torch_dtype: 'float32' };
  const { eos_token_id: ends } = model.config;
  return {
    architectures: ['LlamaForCausalLM'],
    ...model.config,
    rope_factors: undefined,
    eos_token_id: ends.length === 1 ? ends[0] : ends,
    hidden_act: 'silu',
    torch_dtype: 'float32',
  };
}

function configFile(model: ModelSource): ByteSource | undefined {
  return model.files.find((file) => file.name.split('/').at(-1) === 'config.json');
}

/** A GGUF's rope factors have no place in a config.json. */
function hasConfigJson(model: ModelSource): boolean {
  return configFile(model) !== undefined || model.config.rope_factors === null;
}
