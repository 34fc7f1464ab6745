import { proxy } from 'comlink';
import type { AdapterSummary, ChatMessage, GenerateRequest, GenerateResult, Progress, RunSummary } from '../../workers/api';
import { useOf, workWords } from '../adapter-words';
import type { BaseType } from '../drift';
import { studio, toFailure } from './studio';

/** Who answers: the untouched base, or the base through the adapters at work. */
export type Side = 'base' | 'tuned';

export class Answer {
  text = $state('');
  state = $state<'waiting' | 'writing' | 'done' | 'failed'>('waiting');
  result = $state.raw<GenerateResult | null>(null);
  /** Who answered and how strongly, as it was set then. */
  how = $state('');
  failure = $state('');
}

export interface Turn {
  question: string;
  base: Answer | null;
  tuned: Answer | null;
}

/** An adapter that can be switched and scaled. */
export class AtWork {
  on = $state(true);
  strength = $state(1);
  constructor(
    readonly id: string,
    readonly name: string,
  ) {}
}

export interface ChatSettings {
  temperature: number;
  topP: number;
  topK: number;
  maxTokens: number;
  seed: number;
}

/** What is talked to beside the base. */
export interface Partner {
  run: RunSummary | null;
  adapter: AdapterSummary | null;
}

/** One conversation with both sides: same template, same question, same seed, each with its own past answers. */
export class Chat {
  turns = $state<Turn[]>([]);
  busy = $state(false);
  settings = $state<ChatSettings>({ temperature: 0, topP: 1, topK: 0, maxTokens: 128, seed: 42 });
  checkpoint = $state<'best' | 'last'>('best');
  readonly runId: string | null;
  /** The run's own adapter; null where there is no run, or one that trained every weight. */
  readonly own: AtWork | null;
  /** More adapters of the same base. */
  others: AtWork[];
  /** What the base is held in, for both sides: at first as it was when the run trained over it. */
  base: BaseType;
  /** Weights that are read onto the GPU before the first answer. */
  loading = $state.raw<Progress | null>(null);
  private stopped = false;

  /** With neither run nor adapter only the base answers. */
  constructor(
    readonly modelId: string,
    { run, adapter }: Partner,
  ) {
    this.runId = run?.id ?? null;
    this.own = run?.recipe.lora ? new AtWork(`run:${run.id}`, run.name) : null;
    this.others = $state.raw(adapter ? [new AtWork(adapter.id, adapter.name)] : []);
    this.base = $state(run?.recipe.lora ? run.recipe.quantize_base : 'none');
  }

  /** Whether there is a second side. */
  get hasTuned(): boolean {
    return this.runId !== null || this.others.length > 0;
  }

  add(id: string, name: string): void {
    if (!this.others.some((other) => other.id === id)) this.others = [...this.others, new AtWork(id, name)];
  }

  remove(id: string): void {
    this.others = this.others.filter((other) => other.id !== id);
  }

  /** Who would answer now: "adapter at 0.5, with Poet". */
  get how(): string {
    const { own, others } = this;
    if (own) return workWords(own, others);
    if (this.runId !== null) return others.length > 0 ? workWords(null, others) : 'every weight trained';
    return others.length === 1 ? workWords(others[0]!, []) : workWords(null, others);
  }

  /** Asks both, one after the other: there is one GPU. */
  async send(question: string): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.stopped = false;
    this.turns.push({ question, base: new Answer(), tuned: this.hasTuned ? new Answer() : null });
    const turn = this.turns.at(-1)!;
    try {
      for (const side of ['tuned', 'base'] as const) {
        const answer = turn[side];
        if (answer && !this.stopped) await this.ask(side, answer);
        else if (answer) answer.state = 'done';
      }
    } finally {
      this.busy = false;
    }
  }

  /** Stops whoever writes; the text so far stays. */
  async stop(): Promise<void> {
    if (!this.busy) return;
    this.stopped = true;
    await studio.stopGenerating();
  }

  clear(): void {
    if (!this.busy) this.turns = [];
  }

  private async ask(side: Side, answer: Answer): Promise<void> {
    answer.state = 'writing';
    if (side === 'tuned') answer.how = this.how;
    // Pieces and progress come through ports of their own, and may arrive after the answer that holds them.
    let isOver = false;
    try {
      answer.result = await studio.generate(
        this.request(side),
        proxy((piece: string) => {
          if (isOver) return;
          this.loading = null;
          answer.text += piece;
        }),
        proxy((progress: Progress) => {
          if (!isOver && answer.text === '') this.loading = progress;
        }),
      );
      answer.text = answer.result.text;
      answer.state = 'done';
    } catch (thrown) {
      answer.failure = toFailure(thrown).message;
      answer.state = 'failed';
    } finally {
      isOver = true;
      this.loading = null;
    }
  }

  private request(side: Side): GenerateRequest {
    const messages: ChatMessage[] = [];
    for (const [index, turn] of this.turns.entries()) {
      const answer = turn[side];
      const isAnswered = answer !== null && answer.text !== '' && answer.state === 'done';
      // A question that this side never answered would leave two in a row, which templates refuse.
      if (!isAnswered && index < this.turns.length - 1) continue;
      messages.push({ role: 'user', content: turn.question });
      if (isAnswered) messages.push({ role: 'assistant', content: answer.text });
    }
    return {
      modelId: this.modelId,
      runId: side === 'tuned' ? this.runId : null,
      ...(side === 'tuned' && { checkpoint: this.checkpoint, adapters: this.others.map(useOf) }),
      ...(side === 'tuned' && this.own && { strength: useOf(this.own).strength }),
      quantizeBase: this.base,
      messages,
      ...$state.snapshot(this.settings),
    };
  }
}

const chats = new Map<string, Chat>();

/** The conversation with a run, with a kept adapter or with a base alone, kept while the page is open. */
export function chatWith(modelId: string, partner: Partner): Chat {
  const key = JSON.stringify([modelId, partner.run?.id, partner.adapter?.id]);
  const chat = chats.get(key) ?? new Chat(modelId, partner);
  chats.set(key, chat);
  return chat;
}
