// dx (+)= r * (dout * w - x * r * r * sum(dout * w * x) / C), w = OFFSET + weight.
// Grid: one workgroup of 64 a normalised vector (PARTS of them a row), folded over y. Barriers: groupSum's two.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> x: array<vecN>;
@group(0) @binding(2) var<storage, read> weight: array<vecN>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read> dout: array<vecN>;
@group(0) @binding(5) var<storage, read_write> dx: array<vecN>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= rows.x * PARTS) { return; }
  let first = row * VECTORS;
  var products = 0.0;
  for (var i = lane; i < VECTORS; i += GROUP) { products += inner(dout[first + i] * (OFFSET + weight[i]), x[first + i]); }
  let r = scales[row];
  let shift = groupSum(lane, products) * r * r / C;
  for (var i = lane; i < VECTORS; i += GROUP) {
    var d = r * (dout[first + i] * (OFFSET + weight[i]) - x[first + i] * shift);
    if (ADD) { d += dx[first + i]; }
    dx[first + i] = d;
  }
}
