// target_[m, TO..] (+)= source[m, FROM..], COUNT vectors of each of rows.x rows.
// Grid: one thread a vector, 256 a workgroup, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> source: array<vecN>;
@group(0) @binding(2) var<storage, read_write> target_: array<vecN>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= rows.x * COUNT) { return; }
  let row = i / COUNT;
  let column = i % COUNT;
  let value = source[row * FROM_VECTORS + FROM + column];
  let at = row * TO_VECTORS + TO + column;
  if (ADD) { target_[at] += value; } else { target_[at] = value; }
}
