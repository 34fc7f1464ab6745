import type { Adapter } from '../core/adapter';
import type { MicroBatch } from '../core/batch';
import type { Answers, TrialPrompt } from '../core/certificate';
import { ExportError } from '../core/errors';
import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import { Random } from '../core/random';
import { AnsweringModel } from '../models/answering';
import { layerwiseLogits } from '../models/layerwise';
import type { Gpu } from '../runtime/device';
import { languageOf } from './prepare';
import { chatPrompt } from './prompts';

/** What every export is asked: plain talk, a list, a sum, code, another language, an exact fact, a rare word, a long sentence. */
const QUESTIONS = [
  'Hello! Who are you?',
  'Name three things that float on water.',
  'What is 17 plus 25?',
  'Write a function that reverses a list.',
  'Wie spät ist es in Rom, wenn es in London Mittag ist?',
  'At what temperature does water boil at sea level?',
  'Explain the word "serendipity" to a child.',
  'Continue: The ship had been at sea for forty days when the lookout, half asleep in the rigging, saw',
] as const;

/** Places compared in each prompt, spread over it, the last among them. */
const PLACES = 8;
/** Tokens of a prompt that are kept at most: long templates would cost time and add nothing. */
const MOST_TOKENS = 96;
/** Tokens of a prompt where there is no tokenizer to make one. */
const RANDOM_TOKENS = 24;

/** Eight prompts, always the same: questions in the model's chat format, or drawn ids where it has no tokenizer. */
export function trialPrompts(source: ModelSource): TrialPrompt[] {
  const { config } = source;
  const { tokenizer, template } = languageOf(source);
  const most = Math.min(MOST_TOKENS, config.max_position_embeddings);
  return QUESTIONS.map((text, i) => {
    if (tokenizer) return { text, ids: chatPrompt([{ role: 'user', content: text }], tokenizer, template).slice(-most) };
    const random = new Random(1, i);
    return { text: null, ids: Array.from({ length: Math.min(RANDOM_TOKENS, most) }, () => random.below(config.vocab_size)) };
  });
}

/** Asks models the trial's prompts on a GPU, one after the other, so that no two are there together. */
export class Trial {
  readonly device: string;
  readonly prompts: readonly TrialPrompt[];

  constructor(
    private readonly gpu: Gpu,
    source: ModelSource,
  ) {
    const { vendor, architecture, description } = gpu.info;
    this.device = [vendor, architecture, description].filter(Boolean).join(' ');
    this.prompts = trialPrompts(source);
  }

  /** Throws an ExportError where a model's own tokenizer and template make other ids of the questions. */
  checkPrompts(source: ModelSource): void {
    trialPrompts(source).forEach(({ ids }, i) => {
      const { text, ids: meant } = this.prompts[i]!;
      if (ids.length === meant.length && ids.every((id, t) => id === meant[t])) return;
      throw new ExportError(
        `${source.name} reads ${JSON.stringify(text)} as other tokens than the trained model does (${ids.length} and ${meant.length}), ` +
          'so its tokenizer or chat template is not the one of training; export the adapter as PEFT, and please report this with the model\'s name.',
      );
    });
  }

  /** Answers of a model by itself. It need not fit the GPU: its layers pass through one at a time. */
  async ofModel(source: ModelSource, onProgress?: OnProgress): Promise<Answers> {
    const V = source.config.vocab_size;
    const { batch, rows } = this.batch();
    const all = await layerwiseLogits(this.gpu, source, batch, rows, onProgress);
    return rows.map((_, i) => all.subarray(i * V, (i + 1) * V));
  }

  /** Answers of a base with each of several adapters, over one copy of its weights. */
  async withAdapters(source: ModelSource, adapters: readonly Adapter[], onProgress?: OnProgress): Promise<Answers[]> {
    const model = await AnsweringModel.load(this.gpu, source, onProgress);
    const context = Math.max(...this.prompts.map(({ ids }) => ids.length));
    const all: Answers[] = [];
    try {
      for (const adapter of adapters) {
        const answerer = await model.answerer([{ adapter, strength: 1 }], context, onProgress);
        const logits: Float32Array[] = [];
        for (const { ids } of this.prompts) {
          const rows = await answerer.inference.allLogits(ids);
          // Copies: a view would keep the whole prompt's logits.
          logits.push(...placesOf(ids.length).map((row) => rows[row]!.slice()));
        }
        answerer.destroy();
        all.push(logits);
      }
    } finally {
      model.destroy();
    }
    return all;
  }

  /** All prompts as one batch that keeps them apart, and the compared rows of it. */
  private batch(): { batch: MicroBatch; rows: number[] } {
    const total = this.prompts.reduce((sum, { ids }) => sum + ids.length, 0);
    const make = (): Uint32Array => new Uint32Array(total);
    const batch: MicroBatch = { ids: make(), targets: new Int32Array(total).fill(-1), positions: make(), starts: make(), ends: make(), trained: 0 };
    const rows: number[] = [];
    let start = 0;
    for (const { ids } of this.prompts) {
      ids.forEach((id, t) => {
        batch.ids[start + t] = id;
        batch.positions[start + t] = t;
        batch.starts[start + t] = start;
        batch.ends[start + t] = start + ids.length;
      });
      rows.push(...placesOf(ids.length).map((place) => start + place));
      start += ids.length;
    }
    return { batch, rows };
  }
}

function placesOf(length: number): number[] {
  const count = Math.min(PLACES, length);
  return Array.from({ length: count }, (_, i) => Math.ceil(((i + 1) * length) / count) - 1);
}
