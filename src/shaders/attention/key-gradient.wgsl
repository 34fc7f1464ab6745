// dk[n] (+)= sum of ds[m] * q[m], dv[n] (+)= sum of p[m] * dout[m], over the query heads that share this key/value
// head and over the tokens m that see token n: from n to before ends[n] or the window's end (window.wgsl); p and ds as in
// query-gradient.wgsl.
// Blocks of BLOCK queries: their p and ds in registers, the sums in `dk` and `dv`.
// Grid: one thread a (token, key/value head); a workgroup of 64 holds tokens of one head, so that all its threads
// need the same queries at the same time (spread.ts); folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> q: array<vecN>;
@group(0) @binding(2) var<storage, read> k: array<vecN>;
@group(0) @binding(3) var<storage, read> v: array<vecN>;
@group(0) @binding(4) var<storage, read> ends: array<u32>;
@group(0) @binding(5) var<storage, read> dout: array<vecN>;
@group(0) @binding(6) var<storage, read> statistics: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> dk: array<vecN>;
@group(0) @binding(8) var<storage, read_write> dv: array<vecN>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32, @builtin(subgroup_invocation_id) sub: u32) {
  let id = group.y * groups.x + group.x;
  let kvHead = id % K;
  let first = (id / K) * 64u;
  if (first >= rows.x) { return; }
  let n = first + lane;
  // VECTORS and SHARE, but not known to the compiler: unrolled, these loops would take a CPU's shader compiler minutes.
  let vectors = select(0u, VECTORS, rows.x > 0u);
  let shares = select(0u, SHARE, rows.x > 0u);
  let inside = n < rows.x;
  let token = min(n, rows.x - 1u);
  let mine = (token * K + kvHead) * VECTORS;
  let end = past_seeing(ends[token], token);
  let lastKey = min(first + 63u, rows.x - 1u);
  let past = min(past_seeing(ends[lastKey], lastKey), rows.x);
  let last = max(past, 1u) - 1u;

  for (var share = 0u; share < shares; share++) {
    let head = kvHead * SHARE + share;
    for (var block = first; block < past; block += BLOCK) {
      var weights: array<f32, BLOCK>;
      var dscores: array<f32, BLOCK>;
      for (var j = 0u; j < BLOCK; j++) {
        weights[j] = 0.0;
        dscores[j] = 0.0;
      }
      for (var i = 0u; i < vectors; i++) {
        let key = k[mine + i] * SCALE;
        let value = v[mine + i];
        for (var j = 0u; j < BLOCK; j += LANES) {
          let row = (min(block + j + sub, last) * H + head) * VECTORS + i;
          let query = q[row];
          let d = dout[row];
          for (var l = 0u; l < LANES; l++) {
            weights[j + l] += inner(key, from_lane(query, l));
            dscores[j + l] += inner(value, from_lane(d, l));
          }
        }
      }
      for (var j = 0u; j < BLOCK; j++) {
        let statistic = statistics[min(block + j, last) * H + head];
        let score = softcapped(weights[j]);
        let weight = exp(min(score.x - statistic.x, 0.0));
        weights[j] = select(0.0, weight, block + j >= n && block + j < end);
        dscores[j] = SCALE * score.y * weights[j] * (dscores[j] - statistic.y);
      }
      let fresh = share == 0u && block == first;
      for (var i = 0u; i < vectors; i++) {
        var dkey = vecN(0.0);
        var dvalue = vecN(0.0);
        if (ADD_K || !fresh) { dkey = dk[mine + i]; }
        if (ADD_V || !fresh) { dvalue = dv[mine + i]; }
        for (var j = 0u; j < BLOCK; j += LANES) {
          let row = (min(block + j + sub, last) * H + head) * VECTORS + i;
          let query = q[row];
          let d = dout[row];
          for (var l = 0u; l < LANES; l++) {
            dkey += dscores[j + l] * from_lane(query, l);
            dvalue += weights[j + l] * from_lane(d, l);
          }
        }
        if (inside) {
          dk[mine + i] = dkey;
          dv[mine + i] = dvalue;
        }
      }
    }
  }
}
