// state[0] = norm = sqrt(sum of COUNT partial sums), state[1] = min(1, MAX_NORM / (norm + 1e-6)), or 1 where MAX_NORM is 0,
// state[2] = 1 where a value or the norm is infinite or NaN, else 0. Lanes stride over the partial sums, then are added in order.
// Grid: one workgroup of 256. Barriers: groupSum's two, twice.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> partials: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<f32>;

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = vec2<f32>(0.0);
  for (var i = lane; i < COUNT; i += GROUP) { sum += partials[i]; }
  let squares = groupSum(lane, sum.x);
  let broken = groupSum(lane, sum.y);
  if (lane == 0u) {
    let infinite = (bitcast<u32>(squares) & 0x7f800000u) == 0x7f800000u;
    let norm = sqrt(squares);
    let limit = hyper[MAX_GRAD_NORM];
    state[0] = norm;
    state[1] = select(1.0, min(1.0, limit / (norm + 1e-6)), limit > 0.0);
    state[2] = select(0.0, 1.0, infinite || broken > 0.0);
  }
}
