// dweight[v] += sum of dout[m] over the tokens with id v, in index order: the first token of each id walks its chain.
// Grid: one workgroup of 64 a token, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> links: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> dout: array<vecN>;
@group(0) @binding(4) var<storage, read_write> dweight: array<vecN>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first = group.y * groups.x + group.x;
  if (first >= rows.x || links[first].x == 0u || ids[first] >= V) { return; }
  for (var i = lane; i < VECTORS; i += 64u) {
    var sum = vecN(0.0);
    for (var m = first; m < rows.x; m = links[m].y) { sum += dout[m * VECTORS + i]; }
    dweight[ids[first] * VECTORS + i] += sum;
  }
}
