// out[m] = sum over n in starts[m]..m of softmax(SCALE * q[m] . k[n])[n] * v[n], per query head; lse[m] = log of the softmax's sum.
// Online softmax over blocks of BLOCK keys (Milakov & Gimelshein 2018; Dao et al. 2022). Token m's starts never decrease.
// Grid: one thread a (token, query head); a workgroup of 64 holds heads of one key/value head, so that all its threads
// read the same key at the same time; folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> q: array<vecN>;
@group(0) @binding(2) var<storage, read> k: array<vecN>;
@group(0) @binding(3) var<storage, read> v: array<vecN>;
@group(0) @binding(4) var<storage, read> starts: array<u32>;
@group(0) @binding(5) var<storage, read_write> out: array<vecN>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let id = group.y * groups.x + group.x;
  let kvHead = id % K;
  let item = (id / K) * 64u;
  if (item >= rows.x * SHARE) { return; }
  let last = min((item + 63u) / SHARE, rows.x - 1u);
  let m = (item + lane) / SHARE;
  let head = kvHead * SHARE + (item + lane) % SHARE;
  let mine = min(m, rows.x - 1u);
  let start = starts[mine];

  var query: array<vecN, VECTORS>;
  var sum: array<vecN, VECTORS>;
  for (var i = 0u; i < VECTORS; i++) {
    query[i] = q[(mine * H + head) * VECTORS + i] * SCALE;
    sum[i] = vecN(0.0);
  }
  var largest = LOWEST;
  var weightSum = 0.0;
  for (var block = starts[item / SHARE]; block <= last; block += BLOCK) {
    var scores: array<f32, BLOCK>;
    var blockLargest = largest;
    for (var j = 0u; j < BLOCK; j++) {
      let n = block + j;
      let key = (min(n, last) * K + kvHead) * VECTORS;
      var score = 0.0;
      for (var i = 0u; i < VECTORS; i++) { score += inner(query[i], k[key + i]); }
      scores[j] = select(LOWEST, score, n >= start && n <= m);
      blockLargest = max(blockLargest, scores[j]);
    }
    let shrink = exp(largest - blockLargest);
    largest = blockLargest;
    weightSum *= shrink;
    for (var i = 0u; i < VECTORS; i++) { sum[i] *= shrink; }
    for (var j = 0u; j < BLOCK; j++) {
      let n = block + j;
      let weight = select(0.0, exp(scores[j] - largest), n >= start && n <= m);
      weightSum += weight;
      let value = (min(n, last) * K + kvHead) * VECTORS;
      for (var i = 0u; i < VECTORS; i++) { sum[i] += weight * v[value + i]; }
    }
  }
  if (m >= rows.x) { return; }
  for (var i = 0u; i < VECTORS; i++) { out[(m * H + head) * VECTORS + i] = sum[i] / weightSum; }
  lse[m * H + head] = largest + log(weightSum);
}
