import { proxy } from 'comlink';
import type { ChatMessage, GenerateRequest, GenerateResult } from '../../workers/api';
import { studio, toFailure } from './studio';

/** Who answers: the untouched base, or the base with the run's adapter. */
export type Side = 'base' | 'tuned';

export class Answer {
  text = $state('');
  state = $state<'waiting' | 'writing' | 'done' | 'failed'>('waiting');
  result = $state.raw<GenerateResult | null>(null);
  failure = $state('');
}

export interface Turn {
  question: string;
  base: Answer | null;
  tuned: Answer | null;
}

export interface ChatSettings {
  temperature: number;
  topP: number;
  topK: number;
  maxTokens: number;
  seed: number;
}

/** One conversation with both sides: same template, same question, same seed, each with its own past answers. */
export class Chat {
  turns = $state<Turn[]>([]);
  busy = $state(false);
  settings = $state<ChatSettings>({ temperature: 0, topP: 1, topK: 0, maxTokens: 128, seed: 42 });
  checkpoint = $state<'best' | 'last'>('best');
  private stopped = false;

  constructor(
    readonly modelId: string,
    /** null: nothing is trained yet, only the base answers. */
    readonly runId: string | null,
  ) {}

  /** Asks both, one after the other: there is one GPU. */
  async send(question: string): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.stopped = false;
    this.turns.push({ question, base: new Answer(), tuned: this.runId ? new Answer() : null });
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
    try {
      answer.result = await studio.generate(
        this.request(side),
        proxy((piece: string) => {
          answer.text += piece;
        }),
      );
      answer.text = answer.result.text;
      answer.state = 'done';
    } catch (thrown) {
      answer.failure = toFailure(thrown).message;
      answer.state = 'failed';
    }
  }

  private request(side: Side): GenerateRequest {
    const messages: ChatMessage[] = [];
    for (const turn of this.turns) {
      messages.push({ role: 'user', content: turn.question });
      const answer = turn[side];
      if (answer?.text && answer.state === 'done') messages.push({ role: 'assistant', content: answer.text });
    }
    return {
      modelId: this.modelId,
      runId: side === 'tuned' ? this.runId : null,
      ...(side === 'tuned' && { checkpoint: this.checkpoint }),
      messages,
      ...$state.snapshot(this.settings),
    };
  }
}

const chats = new Map<string, Chat>();

/** The conversation with a run (or with a base alone), kept while the page is open. */
export function chatWith(modelId: string, runId: string | null): Chat {
  const key = `${modelId}\n${runId ?? ''}`;
  const chat = chats.get(key) ?? new Chat(modelId, runId);
  chats.set(key, chat);
  return chat;
}
