// partials[FIRST + w] = (sum of the squares that workgroup w reads, 1 where one of the values is infinite or NaN, else 0).
// A compiler may assume that floats are finite, so the test looks at the exponent's bits.
// Grid: GROUPS workgroups of 256, each striding over the LENGTH values. Barriers: groupSum's two, twice.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> partials: array<vec2<f32>>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  var broken = 0.0;
  for (var i = group.x * GROUP + lane; i < (LENGTH + 3u) / 4u; i += GROUPS * GROUP) {
    let inside = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(LENGTH);
    let bits = select(vec4<u32>(0u), gradient[i], inside);
    let values = bitcast<vec4<f32>>(bits);
    sum += dot(values, values);
    if (any((bits & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u))) { broken = 1.0; }
  }
  let all = groupSum(lane, sum);
  let anyBroken = groupSum(lane, broken);
  if (lane == 0u) { partials[FIRST + group.x] = vec2<f32>(all, min(anyBroken, 1.0)); }
}
