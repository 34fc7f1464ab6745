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

/** How far a quantised base is from its original on the data set's own rows. */
export interface Drift {
  /** Mean KL(original ‖ quantised) over the compared tokens, in nats. */
  kl: number;
  /** Share of them whose likeliest next token is the same. */
  same: number;
  tokens: number;
}
