import type { Message } from '../data/chat/render';
import { ModelError, TokenizerError } from '../core/errors';
import { AnsweringModel } from '../models/answering';
import { generate as generateIds } from '../models/generate';
import { openDevice } from '../runtime/device';
import { languageOf } from '../training/prepare';
import { chatPrompt, textPrompt } from '../training/prompts';
import { ADAPTER_OPTIONS, adapterArguments, decimal, readArguments, UsageError, wholeNumber, required } from './arguments';
import { openAdapters, openModelPath, readJsonFile } from './files';
import { nodeGpu } from './node-gpu';

/** `hone generate`: the model's answer, streamed. */
export async function generate(args: string[]): Promise<void> {
  const { values } = readArguments(
    args,
    {
      model: { type: 'string' },
      ...ADAPTER_OPTIONS,
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
  const { tokenizer, template, stopIds } = languageOf(source);
  if (!tokenizer) throw new TokenizerError(`${source.name} has no tokenizer; put its tokenizer.json beside the weights.`);
  const prompt = values.raw ? textPrompt(required(values.prompt, 'prompt'), tokenizer) : chatPrompt(await conversation(values), tokenizer, template);
  const context = source.config.max_position_embeddings;
  if (prompt.length === 0 || prompt.length >= context) {
    throw new ModelError(`The prompt has ${prompt.length} tokens, and ${source.name} takes 1 to ${context - 1}; give another prompt.`);
  }
  const adapters = await openAdapters(adapterArguments(args), source.config);
  const maxTokens = wholeNumber(values['max-tokens'], 'max-tokens', 256, 1);
  const model = await AnsweringModel.load(await openDevice(await nodeGpu()), source);
  const { inference } = await model.answerer(adapters, Math.min(prompt.length + maxTokens, context));
  const decoder = tokenizer.decoder({ skipSpecial: true });
  const result = await generateIds(inference, prompt, {
    maxTokens,
    temperature: decimal(values.temperature, 'temperature', 0),
    topK: wholeNumber(values['top-k'], 'top-k', 0),
    topP: decimal(values['top-p'], 'top-p', 1),
    seed: wholeNumber(values.seed, 'seed', 42),
    stopIds,
    onToken: (id) => process.stdout.write(decoder.push(id)),
  });
  process.stdout.write(`${decoder.end()}\n`);
  console.error(`${result.ids.length} tokens, ${(result.ids.length / result.seconds).toFixed(1)} a second, ended by ${result.reason}`);
  model.destroy();
}

async function conversation(values: { prompt?: string; messages?: string }): Promise<Message[]> {
  if (values.prompt !== undefined) return [{ role: 'user', content: values.prompt }];
  if (values.messages === undefined) throw new UsageError('Give --prompt TEXT or --messages FILE (a JSON array of {"role", "content"}).');
  const messages = await readJsonFile(values.messages);
  if (!Array.isArray(messages) || messages.length === 0 || !messages.every(isMessage)) {
    throw new UsageError(`${values.messages} is not a JSON array of {"role": "…", "content": "…"}; correct it.`);
  }
  return messages;
}

function isMessage(value: unknown): value is Message {
  const { role, content } = (value ?? {}) as Partial<Record<'role' | 'content', unknown>>;
  return typeof role === 'string' && typeof content === 'string';
}
