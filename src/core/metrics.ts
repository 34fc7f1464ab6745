/** One optimizer step, as charts and metrics.jsonl have it. */
export interface MetricPoint {
  /** Counted from 1. */
  step: number;
  loss: number;
  /** Before clipping. */
  grad_norm: number;
  learning_rate: number;
  /** Trained tokens of this step. */
  tokens: number;
  /** All tokens of this step, per second. */
  tokens_per_second: number;
  /** Seconds of training so far, pauses not counted. */
  seconds: number;
  epoch: number;
}

/** The held-out loss after a step. */
export interface EvalPoint {
  step: number;
  loss: number;
  best: boolean;
}

/** An answer to one of the run's sample prompts. */
export interface SamplePoint {
  step: number;
  prompt: string;
  text: string;
}

/** Everything a run leaves on its charts, each in order of step (samples: then of prompt). */
export interface RunHistory {
  metrics: MetricPoint[];
  evals: EvalPoint[];
  samples: SamplePoint[];
}
