import { adaptedPaths, loraScale, namesOfPaths, peftName, type Adapter, type AdapterTensor, type LoraConfig } from '../core/adapter';
import { ExportError } from '../core/errors';

/** An adapter and how much of it goes into the merged one. */
export interface WeightedAdapter {
  /** What errors call it. */
  name: string;
  adapter: Adapter;
  weight: number;
}

/**
 * One adapter that does what several do together, Σ weight · s · B · A, exactly: their ranks stand side by side (PEFT's
 * combination_type "cat"), weights and scales go into B, and the result's own scale is 1. Throws an ExportError for DoRA, whose
 * rows are divided by norms of the base, and for adapters of different models.
 */
export function mergeAdapters(parts: readonly WeightedAdapter[]): Adapter {
  if (parts.length === 0) throw new ExportError('There is no adapter to merge; name at least one.');
  for (const { name, adapter, weight } of parts) {
    if (adapter.config.use_dora) {
      throw new ExportError(
        `${name} is a DoRA: it scales the base's rows, so no adapter is the sum of it and another; merge it into the base instead.`,
      );
    }
    if (!Number.isFinite(weight)) throw new ExportError(`The weight of ${name} is ${weight}, and a number was expected.`);
  }
  const paths = [...new Set(parts.flatMap(({ adapter }) => adaptedPaths(adapter)))];
  const tensors: Adapter['tensors'] = new Map();
  const ranks = new Map<string, number>();
  for (const path of paths) {
    const { A, B } = stacked(path, parts);
    tensors.set(peftName(path, 'A'), A);
    tensors.set(peftName(path, 'B'), B);
    ranks.set(path, A.shape[0]);
  }
  return { config: configOf(ranks), tensors, magnitudes: new Map() };
}

/** A `[R, in]` and weighted B `[out, R]` of one module, the ranks of its adapters one after the other. */
function stacked(path: string, parts: readonly WeightedAdapter[]): { A: AdapterTensor; B: AdapterTensor } {
  const pairs = parts.flatMap(({ name, adapter, weight }) => {
    const [a, b] = [adapter.tensors.get(peftName(path, 'A')), adapter.tensors.get(peftName(path, 'B'))];
    return a && b ? [{ name, a, b, factor: weight * loraScale(adapter.config, path) }] : [];
  });
  const first = pairs[0]!;
  const [rows, columns] = [first.b.shape[0], first.a.shape[1]];
  const odd = pairs.find(({ a, b }) => a.shape[1] !== columns || b.shape[0] !== rows);
  if (odd) {
    throw new ExportError(
      `${path} has ${rows} outputs of ${columns} inputs in ${first.name}, ` +
        `and ${odd.b.shape[0]} of ${odd.a.shape[1]} in ${odd.name}; merge adapters of one model.`,
    );
  }
  const rank = pairs.reduce((sum, { a }) => sum + a.shape[0], 0);
  const A = new Float32Array(rank * columns);
  const B = new Float32Array(rows * rank);
  let at = 0;
  for (const { a, b, factor } of pairs) {
    const own = a.shape[0];
    A.set(a.data, at * columns);
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < own; i++) B[row * rank + at + i] = factor * b.data[row * own + i]!;
    }
    at += own;
  }
  return { A: { shape: [rank, columns], data: A }, B: { shape: [rows, rank], data: B } };
}

/** Alpha equals the rank everywhere: a scale of 1. */
function configOf(ranks: ReadonlyMap<string, number>): LoraConfig {
  const r = Math.max(...ranks.values());
  const others = Object.fromEntries([...ranks].filter(([, rank]) => rank !== r));
  return {
    r,
    lora_alpha: r,
    lora_dropout: 0,
    target_modules: namesOfPaths([...ranks.keys()]),
    use_rslora: false,
    use_dora: false,
    rank_pattern: others,
    alpha_pattern: others,
  };
}
