import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelError } from '../core/errors';
import type { ModelConfig, ModelSource } from '../core/model';
import { isGgufAdapter } from '../formats/gguf-adapter';
import { formatBytes } from '../storage/space';
import type { RunRecord } from '../storage/runs';
import { languageOf } from '../training/prepare';
import { readArguments } from './arguments';
import { describeDataset } from './data';
import { adapterBase, openAdapterPath, openModelPath, readJsonFile, withFile } from './files';

/** `hone inspect`: what a file or folder is, by its content. */
export async function inspect(args: string[]): Promise<void> {
  const { positionals } = readArguments(args, {}, { least: 1, most: 1, names: 'FILE or DIR' });
  const [path] = positionals as [string];
  const info = await stat(path).catch(() => null);
  if (!info) throw new ModelError(`${path} does not exist; check the path.`);
  if (info.isDirectory()) {
    if (existsSync(join(path, 'run.json'))) return show(await aRun(path));
    if (existsSync(join(path, 'adapter_config.json'))) return show(await anAdapter(path));
    return show(aModel(await openModelPath(path)));
  }
  if (await withFile(path, isGgufAdapter)) return show(await anAdapter(path));
  const isModel = await withFile(path, async (source) => source.size >= 4 && new TextDecoder('latin1').decode(await source.read(0, 4)) === 'GGUF');
  if (isModel || path.endsWith('.gguf')) return show(aModel(await openModelPath(path)));
  await describeDataset(path, {});
}

type Lines = [label: string, value: string][];

function show(lines: Lines): void {
  const width = Math.max(...lines.map(([label]) => label.length));
  for (const [label, value] of lines) console.log(`${label.padEnd(width)}  ${value}`);
}

function aModel(model: ModelSource): Lines {
  const { config } = model;
  const parameters = [...model.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
  const types = new Map<string, number>();
  for (const { type } of model.tensors.values()) types.set(type, (types.get(type) ?? 0) + 1);
  const heads = `${config.num_attention_heads} heads of ${config.head_dim}, ${config.num_key_value_heads} for keys and values`;
  return [
    ['model', model.name],
    ['format', `${model.format}, ${formatBytes(model.bytes)}`],
    ['architecture', config.model_type],
    ['parameters', parameters.toLocaleString('en')],
    ['types', [...types].map(([type, count]) => `${count} × ${type}`).join(', ')],
    ['layers', `${config.num_hidden_layers} of ${config.hidden_size}, feed-forward ${config.intermediate_size}, ${heads}`],
    ['context', `${config.max_position_embeddings} tokens, rope base ${config.rope_theta}${config.rope_factors ? ', scaled' : ''}`],
    ...windows(config),
    ['vocabulary', `${config.vocab_size}${config.tie_word_embeddings ? ', head tied to the embedding' : ''}`],
    ...language(model),
  ];
}

/** How far back its sliding layers see. */
function windows({ layer_types, sliding_window, num_hidden_layers }: ModelConfig): Lines {
  const sliding = layer_types.filter((type) => type === 'sliding_attention').length;
  return sliding === 0 ? [] : [['windows', `${sliding_window} tokens back in ${sliding} of ${num_hidden_layers} layers`]];
}

function language(model: ModelSource): Lines {
  const { tokenizer, template, stopIds } = languageOf(model);
  if (!tokenizer) return [['tokenizer', 'none: only rows of token ids can be used']];
  const kind = model.tokenizer?.kind === 'gguf' ? `${model.tokenizer.keys.model}${model.tokenizer.keys.pre ? ` (${model.tokenizer.keys.pre})` : ''}` : 'tokenizer.json';
  return [
    ['tokenizer', `${kind}, ${tokenizer.vocabSize} tokens`],
    ['ends at', [...stopIds].map((id) => `${id} ${JSON.stringify(tokenizer.token(id))}`).join(', ')],
    ['chat template', template.name === 'model' ? "the model's own" : `none; Hone uses "${template.name}"`],
  ];
}

async function anAdapter(path: string): Promise<Lines> {
  const { config, tensors, magnitudes } = await openAdapterPath(path);
  const arrays = [...[...tensors.values()].map(({ data }) => data), ...magnitudes.values()];
  const parameters = arrays.reduce((sum, { length }) => sum + length, 0);
  return [
    ['adapter', `LoRA for ${(await adapterBase(path)) ?? 'a base that it does not name'}`],
    ['rank', `${config.r}${differing(config.rank_pattern)}, alpha ${config.lora_alpha}${differing(config.alpha_pattern)}, dropout ${config.lora_dropout}`],
    ['kind', [config.use_dora ? 'DoRA' : 'LoRA', ...(config.use_rslora ? ['rank-stabilised'] : [])].join(', ')],
    ['projections', config.target_modules.join(', ')],
    ['parameters', `${parameters.toLocaleString('en')} in ${arrays.length} tensors`],
  ];
}

/** Values of modules that have others. */
function differing(pattern: Readonly<Record<string, number>>): string {
  const values = new Set(Object.values(pattern));
  return values.size === 0 ? '' : ` (elsewhere ${[...values].sort((a, b) => a - b).join(', ')})`;
}

async function aRun(path: string): Promise<Lines> {
  const record = (await readJsonFile(join(path, 'run.json'))) as RunRecord;
  return [
    ['run', record.name],
    ['model', record.modelName],
    ['data', record.datasetName],
    ['status', `${record.status}, step ${record.step} of ${record.totalSteps}, saved at ${record.savedStep}`],
    ['loss', `${record.lastLoss ?? 'none yet'}${record.evalLoss === null ? '' : `, held out ${record.evalLoss}`}${record.bestStep === null ? '' : `, best at step ${record.bestStep}`}`],
    ...(record.message === null ? [] : ([['message', record.message]] as Lines)),
  ];
}
