// out = sum over chunks of partial[chunk], or out += it (ADD), LENGTH values each, in index order.
// Grid: one thread a value, 64 a workgroup, folded over y; rows.x rows make ceil(rows.x / CHUNK) chunks. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> total: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= LENGTH) { return; }
  var sum = 0.0;
  for (var chunk = 0u; chunk * CHUNK < rows.x; chunk++) { sum += partial[chunk * LENGTH + i]; }
  if (ADD) { total[i] += sum; } else { total[i] = sum; }
}
