// into[0] += sum of losses[0..rows.x], into[1] += rows.x; each lane in order, then the lanes in order.
// Grid: one workgroup of 256. Barriers: groupSum's two.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> losses: array<f32>;
@group(0) @binding(2) var<storage, read_write> into: array<f32>;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < rows.x; i += GROUP) { sum += losses[i]; }
  let all = groupSum(lane, sum);
  if (lane == 0u) {
    into[0] += all;
    into[1] += f32(rows.x);
  }
}
