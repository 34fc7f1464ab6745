// out[m] = sum over n in first..m of softmax(softcapped(SCALE * q[m] . k[n]))[n] * v[n], per query head, where first is
// starts[m] or the window's begin (window.wgsl); lse[m] = log of the softmax's sum.
// Online softmax over blocks of BLOCK keys (Milakov & Gimelshein 2018; Dao et al. 2022): a block's scores stay in registers, the
// sum of values lies in `out` meanwhile, so that neither registers nor code grow with the head size.
// Grid: one thread a (token, query head); a workgroup of 64 holds heads of one key/value head, so that all its threads
// need the same keys at the same time (spread.ts); folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> q: array<vecN>;
@group(0) @binding(2) var<storage, read> k: array<vecN>;
@group(0) @binding(3) var<storage, read> v: array<vecN>;
@group(0) @binding(4) var<storage, read> starts: array<u32>;
@group(0) @binding(5) var<storage, read_write> out: array<vecN>;
@group(0) @binding(6) var<storage, read_write> lse: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32, @builtin(subgroup_invocation_id) sub: u32) {
  let id = group.y * groups.x + group.x;
  let kvHead = id % K;
  let item = (id / K) * 64u;
  if (item >= rows.x * SHARE) { return; }
  let last = min((item + 63u) / SHARE, rows.x - 1u);
  let m = (item + lane) / SHARE;
  // VECTORS, but not known to the compiler: unrolled, these loops would take a CPU's shader compiler minutes.
  let vectors = select(0u, VECTORS, rows.x > 0u);
  let inside = m < rows.x;
  let token = min(m, rows.x - 1u);
  let mine = (token * H + kvHead * SHARE + (item + lane) % SHARE) * VECTORS;
  let start = first_seen(starts[token], token);
  let begin = first_seen(starts[item / SHARE], item / SHARE);

  var largest = LOWEST;
  var weightSum = 0.0;
  for (var block = begin; block <= last; block += BLOCK) {
    var scores: array<f32, BLOCK>;
    for (var j = 0u; j < BLOCK; j++) { scores[j] = 0.0; }
    for (var i = 0u; i < vectors; i++) {
      let query = q[mine + i] * SCALE;
      for (var j = 0u; j < BLOCK; j += LANES) {
        let key = k[(min(block + j + sub, last) * K + kvHead) * VECTORS + i];
        for (var l = 0u; l < LANES; l++) { scores[j + l] += inner(query, from_lane(key, l)); }
      }
    }
    let before = largest;
    if (CAPPED) {
      for (var j = 0u; j < BLOCK; j++) { scores[j] = softcapped(scores[j]).x; }
    }
    for (var j = 0u; j < BLOCK; j++) { largest = max(largest, select(LOWEST, scores[j], block + j >= start && block + j <= m)); }
    let shrink = exp(before - largest);
    weightSum *= shrink;
    for (var j = 0u; j < BLOCK; j++) {
      scores[j] = select(0.0, exp(min(scores[j] - largest, 0.0)), block + j >= start && block + j <= m);
      weightSum += scores[j];
    }
    for (var i = 0u; i < vectors; i++) {
      var sum = vecN(0.0);
      if (block > begin) { sum = out[mine + i] * shrink; }
      for (var j = 0u; j < BLOCK; j += LANES) {
        let value = v[(min(block + j + sub, last) * K + kvHead) * VECTORS + i];
        for (var l = 0u; l < LANES; l++) { sum += scores[j + l] * from_lane(value, l); }
      }
      if (block + BLOCK > last) { sum /= weightSum; }
      if (inside) { out[mine + i] = sum; }
    }
  }
  if (inside) { lse[mine / VECTORS] = largest + log(weightSum); }
}
