import { readFile } from 'node:fs/promises';
import { chooseTemplate } from '../data/chat/templates';
import { renderChat, type Message } from '../data/chat/render';
import { stopIds } from '../data/chat/stop-ids';
import { buildTokenizer } from '../data/tokenizer/tokenizer';
import { TokenizerError } from '../core/errors';
import { AnsweringModel } from '../models/answering';
import { generate as generateIds } from '../models/generate';
import { openDevice } from '../runtime/device';
import { decimal, readArguments, UsageError, wholeNumber, required } from './arguments';
import { openAdapterPath, openModelPath } from './files';
import { nodeGpu } from './node-gpu';

/** `hone generate`: the model's answer, streamed. */
export async function generate(args: string[]): Promise<void> {
  const { values } = readArguments(
    args,
    {
      model: { type: 'string' },
      adapter: { type: 'string' },
      prompt: { type: 'string' },
      messages: { type: 'string' },
      raw: { type: 'boolean' },
      'max-tokens': { type: 'string' },
      temperature: { type: 'string' },
      'top-k': { type: 'string' },
      'top-p': { type: 'string' },
      seed: { type: 'string' },
    },
    { least: 0, most: 0, names: '' },
  );
  const source = await openModelPath(required(values.model, 'model'));
  if (!source.tokenizer) throw new TokenizerError(`${source.name} has no tokenizer; put its tokenizer.json beside the weights.`);
  const tokenizer = buildTokenizer(source.tokenizer);
  const { template } = chooseTemplate(source.chatTemplate, tokenizer);
  const context = { bosToken: tokenizer.bosToken, eosToken: tokenizer.eosToken };
  const prompt = values.raw
    ? tokenizer.encode(required(values.prompt, 'prompt'), { addSpecial: true })
    : tokenizer.encode(renderChat(template, await conversation(values), { ...context, addGenerationPrompt: true }));
  const adapter = values.adapter === undefined ? null : await openAdapterPath(values.adapter, source.config);
  const maxTokens = wholeNumber(values['max-tokens'], 'max-tokens', 256, 1);
  const model = await AnsweringModel.load(await openDevice(await nodeGpu()), source);
  const inference = await model.answerer(adapter, Math.min(prompt.length + maxTokens, source.config.max_position_embeddings));
  const decoder = tokenizer.decoder({ skipSpecial: true });
  const result = await generateIds(inference, prompt, {
    maxTokens,
    temperature: decimal(values.temperature, 'temperature', 0),
    topK: wholeNumber(values['top-k'], 'top-k', 0),
    topP: decimal(values['top-p'], 'top-p', 1),
    seed: wholeNumber(values.seed, 'seed', 42),
    stopIds: stopIds(source.config, tokenizer),
    onToken: (id) => process.stdout.write(decoder.push(id)),
  });
  process.stdout.write(`${decoder.end()}\n`);
  console.error(`${result.ids.length} tokens, ${(result.ids.length / result.seconds).toFixed(1)} a second, ended by ${result.reason}`);
  model.destroy();
}

async function conversation(values: { prompt?: string; messages?: string }): Promise<Message[]> {
  if (values.prompt !== undefined) return [{ role: 'user', content: values.prompt }];
  if (values.messages === undefined) throw new UsageError('Give --prompt TEXT or --messages FILE (a JSON array of {"role", "content"}).');
  return JSON.parse(await readFile(values.messages, 'utf8')) as Message[];
}
