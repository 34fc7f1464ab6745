import type { Adapter } from '../core/adapter';
import type { AnswerDifference, Answers, AnswersReport, TrialPrompt } from '../core/certificate';
import { ExportError } from '../core/errors';
import { divergence, likeliest } from '../core/logits';
import type { ModelSource } from '../core/model';
import type { OnProgress } from '../core/progress';
import { roundedModel } from './merged';

/** Asks models the same questions; the GPU's part lies in src/training/answers.ts. */
export interface Judge {
  readonly device: string;
  readonly prompts: readonly TrialPrompt[];
  /** Throws a HoneError where a model's own tokenizer and template make other ids of the questions. */
  checkPrompts(source: ModelSource): void;
  /** Of a model by itself, which need not fit the GPU. */
  ofModel(source: ModelSource, onProgress?: OnProgress): Promise<Answers>;
  /** Of a base with each of several adapters. */
  withAdapters(source: ModelSource, adapters: readonly Adapter[], onProgress?: OnProgress): Promise<Answers[]>;
}

/** The model as it was trained: a base with an adapter, or (every weight trained) a model by itself. */
export interface TrainedModel {
  /** The base that training ran over: rounded, where the recipe asked for that. */
  source: ModelSource;
  adapter: Adapter | null;
  /** The base's rounding, for words; null where training ran over the base itself. */
  roundedTo: string | null;
}

/** What an export turned out to be when it was read again. */
export type Written = { kind: 'model'; source: ModelSource; merged: ModelSource; type: string } | { kind: 'adapter'; adapter: Adapter };

/**
 * Mean KL that a type may cost, as a share of how much the trained model's answers depend on the question: a file with
 * rows in the wrong order or a wrong scale loses nearly all of that, so these are far from it. Floors in nats for
 * models that answer nearly the same to everything. Weights that are drawn at random are the most sensitive: 4 bits cost them
 * up to 0.8, trained ones a tenth of that.
 */
const SHARES: Readonly<Record<string, { share: number; floor: number; reason: string }>> = {
  adapter: { share: 1e-5, floor: 1e-7, reason: 'an adapter file holds the trained numbers themselves; only the order of sums may differ' },
  F32: { share: 1e-5, floor: 1e-7, reason: 'merging rounds each weight once to 32 bits; only that and the order of sums may differ' },
  F16: { share: 2e-4, floor: 1e-6, reason: '16-bit floats keep 11 bits of each weight' },
  BF16: { share: 1e-2, floor: 1e-5, reason: 'BF16 keeps 8 bits of each weight' },
  Q8_0: { share: 3e-2, floor: 1e-4, reason: '8-bit weights' },
  Q6_K: { share: 0.1, floor: 1e-3, reason: '6-bit weights' },
  Q5: { share: 0.25, floor: 3e-3, reason: '5-bit weights' },
  Q4: { share: 0.6, floor: 1e-2, reason: '4-bit weights' },
};

/**
 * Compares the answers of what was written with those of the trained model, and where weights were rounded also with those
 * of the unquantised merge. Throws an ExportError where they differ by more than the type explains.
 */
export async function compareAnswers(judge: Judge, trained: TrainedModel, written: Written, onProgress?: OnProgress): Promise<AnswersReport> {
  if (written.kind === 'adapter') return compareAdapters(judge, trained, written.adapter, onProgress);
  const [before] = trained.adapter ? await judge.withAdapters(trained.source, [trained.adapter], onProgress) : [await judge.ofModel(trained.source, onProgress)];
  const merge = await judge.ofModel(written.merged, onProgress);
  const file = await judge.ofModel(written.source, onProgress);
  const range = spread(before!);
  if (!trained.roundedTo) refuseBeyond(difference(before!, merge), limitOf('F32', range), 'Merging the adapter into the weights');
  const rounding = difference(merge, file);
  let limit = limitOf(written.type, range);
  if (!(rounding.mean_kl <= limit)) limit = Math.max(limit, MORE * difference(merge, await judge.ofModel(plainlyRounded(written.merged, written.type), onProgress)).mean_kl);
  refuseBeyond(rounding, limit, `Writing the model as ${written.type}`);
  return { prompts: [...judge.prompts], file: difference(before!, file), merge: difference(before!, merge), rounding, limit, reason: rule(written.type).reason };
}

/** How much more than plain rounding a file may cost, where a model is so sensitive that both are beyond the usual. */
const MORE = 1.5;

/** The model with every matrix rounded to the simplest blocks of a type's bits. */
function plainlyRounded(model: ModelSource, type: string): ModelSource {
  const plain = type.startsWith('Q4') ? 'Q4_0' : type.startsWith('Q5') || type === 'Q6_K' ? 'Q5_0' : type === 'Q8_0' ? 'Q8_0' : null;
  return plain === null ? model : roundedModel(model, plain);
}

async function compareAdapters(judge: Judge, { source, adapter }: TrainedModel, read: Adapter, onProgress?: OnProgress): Promise<AnswersReport> {
  const [before, after] = await judge.withAdapters(source, [adapter!, read], onProgress);
  const limit = limitOf('adapter', spread(before!));
  const file = difference(before!, after!);
  refuseBeyond(file, limit, 'Writing the adapter');
  return { prompts: [...judge.prompts], file, merge: null, rounding: null, limit, reason: rule('adapter').reason };
}

function rule(type: string): { share: number; floor: number; reason: string } {
  return SHARES[type] ?? SHARES[type.slice(0, 2)] ?? SHARES['Q4']!;
}

function limitOf(type: string, range: number): number {
  const { share, floor } = rule(type);
  return Math.max(floor, share * range);
}

function refuseBeyond(difference: AnswerDifference, limit: number, what: string): void {
  // The comparison is written so that a difference that is not a number fails.
  if (difference.mean_kl <= limit) return;
  throw new ExportError(
    `${what} changed its answers: the likeliest next token agrees in ${percent(difference.top1)} of ${difference.places} places ` +
      `(mean KL ${difference.mean_kl.toPrecision(3)}, and at most ${limit.toPrecision(3)} is expected), so no file was kept; export in a larger type, or as PEFT.`,
  );
}

/** Below this share of equal next tokens, nobody would call the answers the same. */
const MOSTLY_THE_SAME = 0.8;

/** The answers' part of a certificate's words. */
export function answersInWords({ file, rounding }: AnswersReport, type: string | null, roundedTo: string | null): string {
  // A near tie may turn where nothing else changes.
  if (file.mean_kl < 1e-3 && file.top1 >= 0.97) {
    const over = roundedTo && !rounding ? ` It was trained over a base rounded to ${roundedTo}; over the original its answers differ a little.` : '';
    return `The file gives the same answers as the model you trained.${over}`;
  }
  const agreement = `the likeliest next token is the same in ${percent(file.top1)} of ${file.places} places (mean KL ${file.mean_kl.toPrecision(2)})`;
  if (roundedTo) {
    const storing = rounding && rounding.mean_kl >= 1e-3 ? `; storing it as ${type} would by itself make ${rounding.mean_kl.toPrecision(2)}` : '';
    return `The change was trained over a base rounded to ${roundedTo} and merged into the original, so answers differ a little: ${agreement}${storing}.`;
  }
  const cost = type ?? 'storing it';
  if (file.top1 < MOSTLY_THE_SAME) return `The file answers differently from the model you trained, for ${cost} rounds too much away: ${agreement}. Choose a larger type.`;
  const advice = file.top1 < 0.9 ? ' A larger type loses less.' : '';
  return `The file gives the answers of the model you trained, but for what ${cost} rounds away: ${agreement}.${advice}`;
}

function percent(share: number): string {
  return `${Math.floor(share * 1000) / 10} %`;
}

/** How far b's answers are from a's. */
export function difference(a: Answers, b: Answers): AnswerDifference {
  const result = { max_logit: 0, mean_kl: 0 };
  let same = 0;
  a.forEach((p, i) => {
    const q = b[i]!;
    for (let v = 0; v < p.length; v++) {
      const off = Math.abs(p[v]! - q[v]!);
      // So that a difference that is not a number stays one.
      if (!(off <= result.max_logit)) result.max_logit = off;
    }
    result.mean_kl += divergence(p, q) / a.length;
    if (likeliest(p) === likeliest(q)) same++;
  });
  return { ...result, top1: same / a.length, places: a.length };
}

/** How much a model's answers depend on the question: mean KL of its distributions from their average, in nats. */
export function spread(answers: Answers): number {
  const average = new Float64Array(answers[0]?.length ?? 0);
  for (const row of answers) {
    const top = row[likeliest(row)]!;
    let sum = 0;
    for (const logit of row) sum += Math.exp(logit - top);
    for (let v = 0; v < row.length; v++) average[v]! += Math.exp(row[v]! - top) / (sum * answers.length);
  }
  const logs = average.map((share) => Math.log(Math.max(share, Number.MIN_VALUE)));
  return answers.reduce((total, row) => total + divergence(row, logs) / answers.length, 0);
}
