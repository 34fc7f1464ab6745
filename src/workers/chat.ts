import { DeviceError, ModelError } from '../core/errors';
import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import { canQuantize, trainedBase } from '../formats/quantized';
import { answeringBytes, AnsweringModel, type AdapterAtWork, type Answerer } from '../models/answering';
import { generate } from '../models/generate';
import type { Inference } from '../models/inference';
import type { Gpu } from '../runtime/device';
import { formatBytes } from '../storage/space';
import { chatPrompt } from '../training/prompts';
import type { Recipe } from '../training/recipe';
import { withWeights } from '../training/trained';
import type { GenerateRequest, GenerateResult } from './api';
import type { AdapterShelf } from './adapters';
import type { DeviceDesk } from './device-desk';
import type { ModelShelf, OpenModel } from './models';
import type { TrainedShelf } from './trained-shelf';

/** Contexts grow in these steps, so that a conversation does not compile anew at every turn. */
const CONTEXT_STEP = 1024;

/** A base on the GPU with the contexts that answer over it: its own, and one through the adapters at work. */
interface Warm {
  gpu: Gpu;
  /** Which weights lie there. */
  base: string;
  model: AnsweringModel;
  contextLength: number;
  answerers: Map<string, Answerer>;
}

/** What a request asks to answer. */
interface Voice {
  base: string;
  source: ModelSource;
  /** Forms of the base in fewer bits than this one's, the most bits first, that could answer instead. */
  smaller: { bits: number; source: ModelSource }[];
  /** Which adapters, whatever their strengths; empty for the base itself. */
  who: string;
  adapters: AdapterAtWork[];
}

/** Who listens to an answer. */
interface Listener {
  onText: (piece: string) => void;
  onProgress: OnProgress | undefined;
  stopped: () => boolean;
}

/** Answers of the base and of what runs and adapters have made of it, one at a time, over one copy of its weights. */
export class Chat {
  private warm: Warm | null = null;
  private last: Promise<unknown> = Promise.resolve();
  /** Counts calls to stop: an answer that began before the count moved ends. */
  private stops = 0;

  constructor(
    private readonly models: ModelShelf,
    private readonly trained: TrainedShelf,
    private readonly adapters: AdapterShelf,
    private readonly desk: DeviceDesk,
  ) {
    desk.onTraining(() => this.free());
  }

  /** Answers a conversation, streamed. Throws a DeviceError while a run has the GPU. */
  generate(request: GenerateRequest, onText: (piece: string) => void, onProgress?: OnProgress): Promise<GenerateResult> {
    const stops = this.stops;
    return this.inTurn(() => this.answer(request, { onText, onProgress, stopped: () => this.stops > stops }));
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

  private async answer(request: GenerateRequest, { onText, onProgress, stopped }: Listener): Promise<GenerateResult> {
    const model = await this.models.get(request.modelId);
    const { tokenizer, template, stopIds } = model.language;
    if (!tokenizer) throw new ModelError(`${model.summary.name} has no tokenizer, so it cannot be talked to; open it with its tokenizer.json.`);
    const prompt = chatPrompt(request.messages, tokenizer, template);
    const { contextLength } = model.summary;
    if (prompt.length >= contextLength) {
      throw new ModelError(`The conversation has ${prompt.length} tokens, and ${model.summary.name} holds ${contextLength}; start a new one.`);
    }
    const voice = await this.voice(request, model);
    const needed = this.contextFor(voice, Math.min(prompt.length + request.maxTokens, contextLength), contextLength);
    if (!this.isReady(voice, needed)) await this.checkRoom(voice, needed, model.summary.name);
    const inference = await this.answerer(voice, needed, onProgress);
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

  private async voice({ runId, checkpoint = 'best', strength = 1, adapters = [], quantizeBase = 'none' }: GenerateRequest, model: OpenModel): Promise<Voice> {
    const trained = runId === null ? null : await this.trained.load(runId, checkpoint, model.source.config);
    const source = trainedBase(model.source, quantizeBase);
    const base = source === model.source ? model.id : `${model.id} ${quantizeBase}`;
    const voice: Voice = { base, source, smaller: smallerForms(model.source, quantizeBase), who: '', adapters: [] };
    const add = (key: string, one: AdapterAtWork): void => {
      if (!Number.isFinite(one.strength)) throw new ModelError(`The strength of an adapter is ${one.strength}, and a number was expected.`);
      voice.who += `${key}\n`;
      voice.adapters.push(one);
    };
    if (trained?.kind === 'weights') {
      voice.base = `${model.id} ${runId} ${trained.step}`;
      voice.source = withWeights(model.source, trained.weights);
      voice.smaller = [];
    } else if (trained) {
      add(`run:${runId} ${trained.step}`, { adapter: trained.adapter, strength });
    }
    for (const use of adapters) {
      const { key, adapter } = await this.adapters.load(use.id, model);
      add(key, { adapter, strength: use.strength });
    }
    return voice;
  }

  /** Tokens of the context that is to answer: those of the one that is here, or more. */
  private contextFor({ base }: Voice, tokens: number, most: number): number {
    const here = this.warm?.base === base ? this.warm.contextLength : 0;
    return here >= tokens ? here : Math.min(Math.ceil(tokens / CONTEXT_STEP) * CONTEXT_STEP, most);
  }

  private isReady({ base, who }: Voice, contextLength: number): boolean {
    return this.warm?.base === base && this.warm.contextLength === contextLength && this.warm.answerers.has(who);
  }

  /** Throws a DeviceError where base and contexts are larger than the budget, with a smaller form that is not. The base's own context counts beside one through adapters. */
  private async checkRoom({ source, smaller, adapters }: Voice, contextLength: number, name: string): Promise<void> {
    const [traits, budget] = [await this.desk.traits(), await this.desk.budget()];
    const sets = adapters.length > 0 ? [[], adapters.map(({ adapter }) => adapter)] : [[]];
    const bytesOf = (form: ModelSource): number => answeringBytes(form, traits, sets, contextLength);
    const bytes = bytesOf(source);
    if (bytes <= budget) return;
    const fitting = smaller.find((form) => bytesOf(form.source) <= budget);
    const advice = fitting ? `choose ${fitting.bits} bits for the base, which needs ${formatBytes(bytesOf(fitting.source))}` : 'choose a smaller model or fewer tokens';
    throw new DeviceError(
      `${name} needs ${formatBytes(bytes)} of GPU memory to answer, and the budget is ${formatBytes(budget)}; ${advice}, or raise the budget under Diagnostics if the GPU has more.`,
    );
  }

  /** The context that answers, warm where it was used before. The base stays where it is, whoever answers over it. */
  private async answerer(voice: Voice, contextLength: number, onProgress?: OnProgress): Promise<Inference> {
    const gpu = await this.desk.lendToChat();
    if (this.warm && (this.warm.gpu !== gpu || this.warm.base !== voice.base)) {
      this.warm.model.destroy();
      this.warm = null;
    }
    this.warm ??= { gpu, base: voice.base, model: await AnsweringModel.load(gpu, voice.source, onProgress), contextLength: 0, answerers: new Map() };
    const { warm } = this;
    if (warm.contextLength < contextLength) {
      forget(warm, () => true);
      warm.contextLength = contextLength;
    }
    let answerer = warm.answerers.get(voice.who);
    if (!answerer) {
      // The base's own context stays; of adapters, one set is at work at a time.
      if (voice.who !== '') forget(warm, (who) => who !== '');
      answerer = await warm.model.answerer(voice.adapters, warm.contextLength, onProgress);
      warm.answerers.set(voice.who, answerer);
    }
    answerer.setStrengths(voice.adapters.map(({ strength }) => strength));
    return answerer.inference;
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work, work);
    this.last = turn.catch(() => undefined);
    return turn;
  }
}

/** What a base could be held in to take less than it does. */
function smallerForms(model: ModelSource, held: Recipe['quantize_base']): Voice['smaller'] {
  const forms = [
    { bits: 8, type: 'Q8_0' },
    { bits: 4, type: 'Q4_0' },
  ] as const;
  const fewer = canQuantize(model) ? forms.slice(held === 'none' ? 0 : forms.findIndex(({ type }) => type === held) + 1) : [];
  return fewer.map(({ bits, type }) => ({ bits, source: trainedBase(model, type) }));
}

/** Frees the contexts of those who are meant. */
function forget({ answerers }: Warm, isMeant: (who: string) => boolean): void {
  for (const [who, answerer] of answerers) {
    if (!isMeant(who)) continue;
    answerer.destroy();
    answerers.delete(who);
  }
}
