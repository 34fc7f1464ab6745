// out[m] = sum over n in first..positions[m] of softmax(softcapped(SCALE * q[m] . k[n]))[n] * v[n], per query head, k and v
// from a cache; first is 0 or the window's begin.
// Blocks of GROUP keys: first each lane scores one key, then each lane adds up its columns of the block's values.
// A lane's columns are lane, lane + GROUP, …; sums run in the order of the keys.
// Grid: one workgroup of 64 a (token, query head), folded over y. Barriers: two in groupMax, two in groupSum (which also make
// the weights visible) and one after each block; all control flow around them follows from the workgroup's own token.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> q: array<vecN>;
@group(0) @binding(2) var<storage, read> k: array<vecN>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> positions: array<u32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

var<workgroup> weights: array<f32, GROUP>;
var<workgroup> lastKey: u32;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = group.y * groups.x + group.x;
  if (item >= rows.x * H) { return; }
  if (lane == 0u) { lastKey = min(positions[item / H], S - 1u); }
  let last = workgroupUniformLoad(&lastKey);
  let kvHead = (item % H) / SHARE;
  // VECTORS, but not known to the compiler, which would unroll the loop and take seconds for it.
  let vectors = select(0u, VECTORS, rows.x > 0u);

  var sums: array<f32, COLUMNS>;
  for (var c = 0u; c < COLUMNS; c++) { sums[c] = 0.0; }
  var largest = LOWEST;
  var weightSum = 0.0;
  for (var block = first_seen(0u, last); block <= last; block += GROUP) {
    let n = block + lane;
    var score = LOWEST;
    if (n <= last) {
      score = 0.0;
      for (var i = 0u; i < vectors; i++) { score += inner(q[item * VECTORS + i], k[(n * K + kvHead) * VECTORS + i]); }
      score = softcapped(score * SCALE).x;
    }
    let newLargest = max(largest, groupMax(lane, score));
    let weight = select(0.0, exp(score - newLargest), n <= last);
    weights[lane] = weight;
    let shrink = exp(largest - newLargest);
    weightSum = weightSum * shrink + groupSum(lane, weight);
    largest = newLargest;
    for (var c = 0u; c < COLUMNS; c++) {
      let column = lane + c * GROUP;
      if (column < D) {
        var sum = sums[c] * shrink;
        for (var j = 0u; j < min(GROUP, last + 1u - block); j++) { sum += weights[j] * v[((block + j) * K + kvHead) * D + column]; }
        sums[c] = sum;
      }
    }
    workgroupBarrier();
  }
  for (var c = 0u; c < COLUMNS; c++) {
    let column = lane + c * GROUP;
    if (column < D) { out[item * D + column] = sums[c] / weightSum; }
  }
}
