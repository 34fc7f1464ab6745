/** A question that models are compared on. */
export interface TrialPrompt {
  /** Null where the model has no tokenizer: the ids are drawn. */
  text: string | null;
  ids: number[];
}

/** Logits `[V]` at every compared place, prompt after prompt. */
export type Answers = readonly Float32Array[];

/** How far one model's answers are from another's, over the places that were compared. */
export interface AnswerDifference {
  /** Largest difference of two logits. */
  max_logit: number;
  /** Mean KL divergence of the next-token distributions, in nats. */
  mean_kl: number;
  /** Share of places whose likeliest next token is the same. */
  top1: number;
  places: number;
}

/** A file or several files, by what `sha256sum` says of them. */
export interface NamedHash {
  name: string;
  /** Null where it is not known. */
  sha256: string | null;
}

export interface CertifiedFile {
  name: string;
  bytes: number;
  sha256: string;
}

/** What an export was compared with after it had been written, and what came out: saved as JSON beside the files. */
export interface Certificate {
  /** The result in a sentence or two. */
  words: string;
  kind: string;
  /** Type of the weights, where the export holds a model. */
  type: string | null;
  files: CertifiedFile[];
  /** The zip that the files were packed into, where they were. */
  archive: CertifiedFile | null;
  base: NamedHash;
  dataset: NamedHash | null;
  recipe_sha256: string | null;
  /** How the tensors were found when they were read again. */
  weights: WeightsReport;
  /** Null where the answers could not be compared; `words` says why. */
  answers: AnswersReport | null;
  program: string;
  /** The GPU that answered. */
  device: string | null;
  /** ISO 8601. */
  made: string;
}

export interface WeightsReport {
  tensors: number;
  /** Of these, tensors with exactly the bits that were meant. */
  exact: number;
  /** By stored type, the largest error against the unquantised weights, as a share of its block's largest magnitude, and the most that the type explains. */
  rounded: { type: string; tensors: number; error: number; limit: number; worst: string }[];
}

export interface AnswersReport {
  prompts: TrialPrompt[];
  /** The trained model against what was written. */
  file: AnswerDifference;
  /** The trained model against the same change merged into unquantised weights; null where nothing is rounded or merged. */
  merge: AnswerDifference | null;
  /** Unquantised merge against the file: what storing the weights in fewer bits costs. */
  rounding: AnswerDifference | null;
  /** Mean KL up to which the export passes, and why. */
  limit: number;
  reason: string;
}
