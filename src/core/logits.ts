/** KL(p ‖ q) in nats of two rows of logits, in f64. */
export function divergence(p: ArrayLike<number>, q: ArrayLike<number>): number {
  const [a, b] = [logSum(p), logSum(q)];
  let kl = 0;
  for (let i = 0; i < p.length; i++) {
    const logP = p[i]! - a;
    kl += Math.exp(logP) * (logP - (q[i]! - b));
  }
  return Math.max(0, kl);
}

function logSum(row: ArrayLike<number>): number {
  const top = row[likeliest(row)]!;
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp(row[i]! - top);
  return top + Math.log(sum);
}

/** The token of the largest logit, the first of equals. */
export function likeliest(row: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i]! > row[best]!) best = i;
  return best;
}
