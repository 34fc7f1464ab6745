// out (+)= x * magnitude / norm, column by column of [M, N]: the rows of the weight that made x, scaled. 0 where a norm is 0.
// The same takes the gradient of out to that of x.
// Grid: one thread a vector, 256 a workgroup, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> x: array<vecN>;
@group(0) @binding(2) var<storage, read> magnitude: array<vecN>;
@group(0) @binding(3) var<storage, read> norm: array<vecN>;
@group(0) @binding(4) var<storage, read_write> out: array<vecN>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= rows.x * VECTORS) { return; }
  let column = i % VECTORS;
  let none = norm[column] == vecN(0.0);
  var value = x[i] * select(magnitude[column] / select(norm[column], vecN(1.0), none), vecN(0.0), none);
  if (ADD) { value += out[i]; }
  out[i] = value;
}
