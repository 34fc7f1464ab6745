// out = x * r * (OFFSET + weight), r = 1 / sqrt(mean(x * x) + EPS), over vectors of C values; r is kept for the backward pass.
// Grid: one workgroup of 64 a normalised vector (PARTS of them a row), folded over y. Barriers: groupSum's two.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> x: array<vecN>;
@group(0) @binding(2) var<storage, read> weight: array<vecN>;
@group(0) @binding(3) var<storage, read_write> out: array<vecN>;
@group(0) @binding(4) var<storage, read_write> scales: array<f32>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= rows.x * PARTS) { return; }
  let first = row * VECTORS;
  var squares = 0.0;
  for (var i = lane; i < VECTORS; i += GROUP) {
    let v = x[first + i];
    squares += inner(v, v);
  }
  let r = inverseSqrt(groupSum(lane, squares) / C + EPS);
  for (var i = lane; i < VECTORS; i += GROUP) { out[first + i] = x[first + i] * r * (OFFSET + weight[i]); }
  if (lane == 0u) { scales[row] = r; }
}
