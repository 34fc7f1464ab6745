import { ModelError } from '../core/errors';
import { AnsweringModel } from '../models/answering';
import { generate } from '../models/generate';
import type { Inference } from '../models/inference';
import type { Gpu } from '../runtime/device';
import { chatPrompt } from '../training/prompts';
import { withWeights } from '../training/trained';
import type { GenerateRequest, GenerateResult } from './api';
import type { DeviceDesk } from './device-desk';
import type { ModelShelf, OpenModel } from './models';
import type { TrainedShelf } from './trained-shelf';

/** Contexts grow in these steps, so that a conversation does not compile anew at every turn. */
const CONTEXT_STEP = 1024;
/** Base and one adapter side by side; another adapter starts afresh. */
const MOST_ANSWERERS = 2;

/** A base on the GPU, with the contexts that answer over it. */
interface Warm {
  gpu: Gpu;
  key: string;
  model: AnsweringModel;
  contextLength: number;
  answerers: Map<string, Inference>;
}

/** Answers of the base and of what runs have made of it, one at a time. */
export class Chat {
  private warm: Warm | null = null;
  private last: Promise<unknown> = Promise.resolve();
  /** Counts calls to stop: an answer that began before the count moved ends. */
  private stops = 0;

  constructor(
    private readonly models: ModelShelf,
    private readonly trained: TrainedShelf,
    private readonly desk: DeviceDesk,
  ) {
    desk.onTraining(() => this.free());
  }

  /** Answers a conversation, streamed. Throws a DeviceError while a run has the GPU. */
  generate(request: GenerateRequest, onText: (piece: string) => void): Promise<GenerateResult> {
    const stops = this.stops;
    return this.inTurn(() => this.answer(request, onText, () => this.stops > stops));
  }

  stop(): void {
    this.stops++;
  }

  /** Ends what is being said and takes everything off the GPU. */
  free(): Promise<void> {
    this.stop();
    return this.inTurn(() => {
      this.warm?.model.destroy();
      this.warm = null;
      return Promise.resolve();
    });
  }

  private async answer(request: GenerateRequest, onText: (piece: string) => void, stopped: () => boolean): Promise<GenerateResult> {
    const model = await this.models.get(request.modelId);
    const { tokenizer, template, stopIds } = model.language;
    if (!tokenizer) throw new ModelError(`${model.summary.name} has no tokenizer, so it cannot be talked to; open it with its tokenizer.json.`);
    const prompt = chatPrompt(request.messages, tokenizer, template);
    const { contextLength } = model.summary;
    if (prompt.length >= contextLength) {
      throw new ModelError(`The conversation has ${prompt.length} tokens, and ${model.summary.name} holds ${contextLength}; start a new one.`);
    }
    const inference = await this.answerer(request, model, Math.min(prompt.length + request.maxTokens, contextLength));
    const decoder = tokenizer.decoder({ skipSpecial: true });
    let text = '';
    const say = (piece: string): void => {
      if (piece === '') return;
      text += piece;
      onText(piece);
    };
    const { temperature, topK, topP, seed, maxTokens } = request;
    const onToken = (id: number): void => say(decoder.push(id));
    const options = { temperature, topK, topP, seed, maxTokens, stopIds, onToken, stopped };
    const { ids, reason, seconds, secondsToFirst } = await generate(inference, prompt, options);
    say(decoder.end());
    return { text, tokens: ids.length, tokensPerSecond: seconds > 0 ? ids.length / seconds : 0, secondsToFirst, reason };
  }

  /** The context that answers a request, warm where it was used before. */
  private async answerer({ runId, checkpoint = 'best' }: GenerateRequest, model: OpenModel, needed: number): Promise<Inference> {
    const gpu = await this.desk.lendToChat();
    const trained = runId === null ? null : await this.trained.load(runId, checkpoint, model.source.config);
    const weights = trained?.kind === 'weights' ? trained.weights : null;
    const base = weights ? `${model.id} ${runId} ${trained!.step}` : model.id;
    const who = trained?.kind === 'adapter' ? `${runId} ${trained.step}` : '';
    const isRoomy = (warm: Warm): boolean =>
      warm.gpu === gpu && warm.key === base && warm.contextLength >= needed && (warm.answerers.has(who) || warm.answerers.size < MOST_ANSWERERS);
    if (this.warm && !isRoomy(this.warm)) {
      this.warm.model.destroy();
      this.warm = null;
    }
    this.warm ??= {
      gpu,
      key: base,
      model: await AnsweringModel.load(gpu, weights ? withWeights(model.source, weights) : model.source),
      contextLength: Math.min(Math.ceil(needed / CONTEXT_STEP) * CONTEXT_STEP, model.summary.contextLength),
      answerers: new Map(),
    };
    const { answerers, contextLength } = this.warm;
    const found = answerers.get(who);
    if (found) return found;
    const { inference } = await this.warm.model.answerer(trained?.kind === 'adapter' ? [{ adapter: trained.adapter, strength: 1 }] : [], contextLength);
    answerers.set(who, inference);
    return inference;
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work, work);
    this.last = turn.catch(() => undefined);
    return turn;
  }
}
