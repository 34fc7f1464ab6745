// d *= 1 - (y / CAP)^2, y = the capped values, over rows.x rows of LENGTH values.
// Grid: one thread a value, 256 a workgroup, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> d: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= rows.x * LENGTH) { return; }
  let t = y[i] / CAP;
  d[i] *= (1.0 - t) * (1.0 + t);
}
