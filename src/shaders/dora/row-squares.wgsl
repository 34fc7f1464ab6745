// squares[FIRST + row] = sum of weight[row]², weight as stored. weight4(row, quad) stands in front (linear/readers.ts).
// Grid: one workgroup of 64 a row, folded over y. Barriers: groupSum's two.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(OUT) var<storage, read_write> squares: array<f32>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= rows.x) { return; }
  var sum = 0.0;
  for (var quad = lane; quad < QUADS; quad += GROUP) {
    let w = weight4(row, quad);
    sum += dot(w, w);
  }
  let all = groupSum(lane, sum);
  if (lane == 0u) { squares[FIRST + row] = all; }
}
