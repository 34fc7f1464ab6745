// statistics[m, h] = (lse[m, h], dout[m, h] . out[m, h]): what the gradient kernels need of each query.
// Grid: one thread a (token, query head), 256 a workgroup, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> out: array<vecN>;
@group(0) @binding(2) var<storage, read> dout: array<vecN>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> statistics: array<vec2<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = (group.y * groups.x + group.x) * 256u + lane;
  if (item >= rows.x * H) { return; }
  // VECTORS, but not known to the compiler, which would unroll the loop and take seconds for it.
  let vectors = select(0u, VECTORS, rows.x > 0u);
  var sum = 0.0;
  for (var i = 0u; i < vectors; i++) { sum += inner(out[item * VECTORS + i], dout[item * VECTORS + i]); }
  statistics[item] = vec2<f32>(lse[item], sum);
}
