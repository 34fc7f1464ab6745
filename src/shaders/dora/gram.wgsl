// gram[i, j] = a[i] · a[j] for the R rows of a [R, C].
// Grid: one workgroup of 64 an entry, folded over y. Barriers: groupSum's two.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> a: array<vecN>;
@group(0) @binding(2) var<storage, read_write> gram: array<f32>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let entry = group.y * groups.x + group.x;
  if (entry >= R * R) { return; }
  let i = (entry / R) * VECTORS;
  let j = (entry % R) * VECTORS;
  var sum = 0.0;
  for (var k = lane; k < VECTORS; k += GROUP) { sum += inner(a[i + k], a[j + k]); }
  let all = groupSum(lane, sum);
  if (lane == 0u) { gram[entry] = all; }
}
