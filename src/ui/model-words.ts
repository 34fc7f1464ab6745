import type { ModelSummary } from '../workers/api';
import { formatCount, plural } from './format';

/** What a model's weights are stored as, the commonest first: "170 tensors in Q4_K, 121 in F32". */
export function typesWords(types: ModelSummary['types']): string {
  const [first, ...others] = Object.entries(types).sort((a, b) => b[1] - a[1]);
  if (!first) return 'none';
  return [`${plural(first[1], 'tensor')} in ${first[0]}`, ...others.map(([type, count]) => `${formatCount(count)} in ${type}`)].join(', ');
}
