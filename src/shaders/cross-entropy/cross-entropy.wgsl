// losses[r] = log(sum over j of exp(logits[r, j])) - logits[r, t], t = targets[r]; 0 where t is negative.
// With GRADIENT, logits[r, j] becomes (softmax(logits[r])[j] - (j == t)) * scale, or 0 where t is negative.
// With CAPPED both are of the capped logits, and the gradient is multiplied by the cap's derivative.
// The target's own term is kept out of the sum S of the others, relative to the maximum: a small loss is log(1 + S)
// and the target's gradient is -S / (S + its term), both exact to rounding where 1 + S would swallow S.
// Grid: one workgroup of 256 a row, folded over y; two passes over the row. Barriers: groupMax's and groupSum's two each.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> targets: array<i32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> logits: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;

// Below every logit, and finite.
const LOWEST: f32 = -3.0e38;

// log(1 + x) for x >= 0: 2 artanh(x / (2 + x)) as a series where x is small.
fn log1p(x: f32) -> f32 {
  if (x > 0.5) { return log(1.0 + x); }
  let z = x / (2.0 + x);
  let w = z * z;
  return 2.0 * z * (1.0 + w * (1.0 / 3.0 + w * (1.0 / 5.0 + w * (1.0 / 7.0 + w * (1.0 / 9.0)))));
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= rows.x) { return; }
  let first = row * V;
  let given = targets[row];
  let trained = given >= 0;
  let target_ = min(u32(max(given, 0)), V - 1u);
  let targetLogit = softcapped(logits[first + target_]).x;

  var largest = LOWEST;
  var sum = 0.0;
  for (var j = lane; j < V; j += GROUP) {
    if (j == target_) { continue; }
    let logit = softcapped(logits[first + j]).x;
    let above = logit - largest;
    let e = exp(-abs(above));
    sum = select(sum + e, sum * e + 1.0, above > 0.0);
    largest = max(largest, logit);
  }
  let rowLargest = max(groupMax(lane, largest), targetLogit);
  let others = groupSum(lane, sum * exp(largest - rowLargest));
  let all = others + exp(targetLogit - rowLargest);

  if (lane == 0u) {
    var loss = rowLargest - targetLogit + log(all);
    if (targetLogit == rowLargest) { loss = log1p(others); }
    losses[row] = select(0.0, loss, trained);
  }
  if (GRADIENT) {
    let factor = select(0.0, scale[0], trained) / all;
    for (var j = lane; j < V; j += GROUP) {
      let logit = softcapped(logits[first + j]);
      let p = exp(logit.x - rowLargest);
      logits[first + j] = select(p, -others, j == target_) * factor * logit.y;
    }
  }
}
