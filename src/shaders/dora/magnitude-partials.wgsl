// partials[s] = sum over the s-th of CHUNKS equal runs of tokens of dout * x, in order.
// Grid: one thread a vector of a partial sum, 64 a workgroup. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> x: array<vecN>;
@group(0) @binding(2) var<storage, read> dout: array<vecN>;
@group(0) @binding(3) var<storage, read_write> partials: array<vecN>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= CHUNKS * VECTORS) { return; }
  let column = i % VECTORS;
  let length = (rows.x + CHUNKS - 1u) / CHUNKS;
  let begin = (i / VECTORS) * length;
  var sum = vecN(0.0);
  for (var row = begin; row < min(begin + length, rows.x); row++) { sum += dout[row * VECTORS + column] * x[row * VECTORS + column]; }
  partials[i] = sum;
}
