// dmagnitude (+)= sum over CHUNKS partial sums, in order, / norm; 0 where the norm is 0.
// Grid: one thread a vector, 64 a workgroup. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> partials: array<vecN>;
@group(0) @binding(2) var<storage, read> norm: array<vecN>;
@group(0) @binding(3) var<storage, read_write> dmagnitude: array<vecN>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = (group.y * groups.x + group.x) * 64u + lane;
  if (column >= VECTORS) { return; }
  var sum = vecN(0.0);
  for (var s = 0u; s < CHUNKS; s++) { sum += partials[s * VECTORS + column]; }
  let none = norm[column] == vecN(0.0);
  sum = select(sum / select(norm[column], vecN(1.0), none), vecN(0.0), none);
  if (ADD) { sum += dmagnitude[column]; }
  dmagnitude[column] = sum;
}
