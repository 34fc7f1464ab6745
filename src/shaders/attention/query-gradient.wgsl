// dq[m] (+)= SCALE * sum over n in starts[m]..m of ds[n] * k[n], ds[n] = p[n] * (dout[m] . v[n] - delta[m]),
// p[n] = exp(SCALE * q[m] . k[n] - lse[m]), per query head.
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
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let id = group.y * groups.x + group.x;
  let kvHead = id % K;
  let item = (id / K) * 64u;
  if (item >= rows.x * SHARE) { return; }
  let last = min((item + 63u) / SHARE, rows.x - 1u);
  let m = (item + lane) / SHARE;
  let mine = min(m, rows.x - 1u) * H + kvHead * SHARE + (item + lane) % SHARE;
  let start = starts[min(m, rows.x - 1u)];
  let lse = statistics[mine].x;
  let delta = statistics[mine].y;

  var query: array<vecN, VECTORS>;
  var dquery: array<vecN, VECTORS>;
  var d: array<vecN, VECTORS>;
  for (var i = 0u; i < VECTORS; i++) {
    query[i] = q[mine * VECTORS + i] * SCALE;
    d[i] = dout[mine * VECTORS + i];
    dquery[i] = vecN(0.0);
  }
  for (var n = starts[item / SHARE]; n <= last; n++) {
    let key = (n * K + kvHead) * VECTORS;
    var score = 0.0;
    var dweight = 0.0;
    for (var i = 0u; i < VECTORS; i++) {
      score += inner(query[i], k[key + i]);
      dweight += inner(d[i], v[key + i]);
    }
    let ds = select(0.0, exp(min(score - lse, 0.0)) * (dweight - delta), n >= start && n <= m);
    for (var i = 0u; i < VECTORS; i++) { dquery[i] += ds * k[key + i]; }
  }
  if (m >= rows.x) { return; }
  for (var i = 0u; i < VECTORS; i++) {
    var gradient = dquery[i] * SCALE;
    if (ADD) { gradient += dq[mine * VECTORS + i]; }
    dq[mine * VECTORS + i] = gradient;
  }
}
