// dk[n] (+)= SCALE * sum of ds[m] * q[m], dv[n] (+)= sum of p[m] * dout[m], over the query heads that share this key/value
// head and over the tokens m in n..ends[n]-1 that see token n; p and ds as in query-gradient.wgsl.
// Grid: one thread a (token, key/value head); a workgroup of 64 holds tokens of one head, so that all its threads read
// the same query at the same time; folded over y. No barriers.
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
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let id = group.y * groups.x + group.x;
  let kvHead = id % K;
  let first = (id / K) * 64u;
  if (first >= rows.x) { return; }
  let n = first + lane;
  let mine = (min(n, rows.x - 1u) * K + kvHead) * VECTORS;
  let end = ends[min(n, rows.x - 1u)];
  let lastEnd = min(ends[min(first + 63u, rows.x - 1u)], rows.x);

  var key: array<vecN, VECTORS>;
  var value: array<vecN, VECTORS>;
  var dkey: array<vecN, VECTORS>;
  var dvalue: array<vecN, VECTORS>;
  for (var i = 0u; i < VECTORS; i++) {
    key[i] = k[mine + i] * SCALE;
    value[i] = v[mine + i];
    dkey[i] = vecN(0.0);
    dvalue[i] = vecN(0.0);
  }
  for (var head = kvHead * SHARE; head < (kvHead + 1u) * SHARE; head++) {
    for (var m = first; m < lastEnd; m++) {
      let item = m * H + head;
      var score = 0.0;
      var dweight = 0.0;
      for (var i = 0u; i < VECTORS; i++) {
        score += inner(key[i], q[item * VECTORS + i]);
        dweight += inner(value[i], dout[item * VECTORS + i]);
      }
      let weight = select(0.0, exp(min(score - statistics[item].x, 0.0)), m >= n && m < end);
      let ds = weight * (dweight - statistics[item].y);
      for (var i = 0u; i < VECTORS; i++) {
        dkey[i] += ds * q[item * VECTORS + i];
        dvalue[i] += weight * dout[item * VECTORS + i];
      }
    }
  }
  if (n >= rows.x) { return; }
  for (var i = 0u; i < VECTORS; i++) {
    var dkeyScaled = dkey[i] * SCALE;
    if (ADD_K) { dkeyScaled += dk[mine + i]; }
    if (ADD_V) { dvalue[i] += dv[mine + i]; }
    dk[mine + i] = dkeyScaled;
    dv[mine + i] = dvalue[i];
  }
}
