// norms[n] = sqrt(squares[n] + sum over i of b[n, i] * (2 SCALE * aw[i, n] + SCALE² * sum over j of gram[i, j] * b[n, j])),
// the length of row n of W + SCALE·B·A from ‖W[n]‖², A·Wᵀ [R, N] and A·Aᵀ [R, R].
// Grid: one thread a row, 64 a workgroup. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> squares: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> aw: array<f32>;
@group(0) @binding(4) var<storage, read> gram: array<f32>;
@group(0) @binding(5) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= rows.x) { return; }
  var change = 0.0;
  for (var i = 0u; i < R; i++) {
    var inner = 0.0;
    for (var j = 0u; j < R; j++) { inner += gram[i * R + j] * b[n * R + j]; }
    change += b[n * R + i] * (2.0 * SCALE * aw[i * N + n] + SCALE * SCALE * inner);
  }
  norms[n] = sqrt(max(squares[n] + change, 0.0));
}
