// dq[m] (+)= sum over n in first..m of ds[n] * k[n], ds[n] = SCALE * slope[n] * p[n] * (dout[m] . v[n] - delta[m]),
// p[n] = exp(score[n] - lse[m]), (score, slope) = softcapped(SCALE * q[m] . k[n]), per query head, first as in forward.wgsl;
// statistics holds (lse, delta).
// Blocks of BLOCK keys: their ds in registers, the sum in `dq`.
// Grid: as the forward pass: one thread a (token, query head), 64 of one key/value head a workgroup, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> q: array<vecN>;
@group(0) @binding(2) var<storage, read> k: array<vecN>;
@group(0) @binding(3) var<storage, read> v: array<vecN>;
@group(0) @binding(4) var<storage, read> starts: array<u32>;
@group(0) @binding(5) var<storage, read> dout: array<vecN>;
@group(0) @binding(6) var<storage, read> statistics: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> dq: array<vecN>;

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
  let statistic = statistics[mine / VECTORS];

  for (var block = begin; block <= last; block += BLOCK) {
    var scores = array<f32, BLOCK>();
    var dweights = array<f32, BLOCK>();
    for (var j = 0u; j < BLOCK; j++) {
      scores[j] = 0.0;
      dweights[j] = 0.0;
    }
    for (var i = 0u; i < vectors; i++) {
      let query = q[mine + i] * SCALE;
      let d = dout[mine + i];
      for (var j = 0u; j < BLOCK; j += LANES) {
        let row = (min(block + j + sub, last) * K + kvHead) * VECTORS + i;
        let key = k[row];
        let value = v[row];
        for (var l = 0u; l < LANES; l++) {
          scores[j + l] += inner(query, from_lane(key, l));
          dweights[j + l] += inner(d, from_lane(value, l));
        }
      }
    }
    for (var j = 0u; j < BLOCK; j++) {
      let score = softcapped(scores[j]);
      let weight = exp(min(score.x - statistic.x, 0.0));
      scores[j] = select(0.0, SCALE * score.y * weight * (dweights[j] - statistic.y), block + j >= start && block + j <= m);
    }
    for (var i = 0u; i < vectors; i++) {
      var sum = vecN(0.0);
      if (ADD || block > begin) { sum = dq[mine + i]; }
      for (var j = 0u; j < BLOCK; j += LANES) {
        let key = k[(min(block + j + sub, last) * K + kvHead) * VECTORS + i];
        for (var l = 0u; l < LANES; l++) { sum += scores[j + l] * from_lane(key, l); }
      }
      if (inside) { dq[mine + i] = sum; }
    }
  }
}
