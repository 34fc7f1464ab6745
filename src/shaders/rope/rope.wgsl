// Rotates each pair (x[i], x[i + ROTARY/2]) of every head by the angle of its token's position, in place:
// (a, b) -> (a cos - b sin, b cos + a sin); with INVERSE by the opposite angle, which is the backward pass.
// A table row holds ROTARY/2 cosines, then ROTARY/2 sines. Values of a head past ROTARY stay.
// Grid: one thread a vector of pairs, 256 a workgroup, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> positions: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<vecN>;
@group(0) @binding(3) var<storage, read_write> x: array<vecN>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= rows.x * HEADS * HALF) { return; }
  let pair = i % HALF;
  let head = i / HALF;
  let entry = min(positions[head / HEADS], POSITIONS - 1u) * 2u * HALF + pair;
  let cosine = table[entry];
  let sine = select(table[entry + HALF], -table[entry + HALF], INVERSE);
  let first = head * HEAD + pair;
  let a = x[first];
  let b = x[first + HALF];
  x[first] = a * cosine - b * sine;
  x[first + HALF] = b * cosine + a * sine;
}
