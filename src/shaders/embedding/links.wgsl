// links[m] = (1 where no earlier token has token m's id, else 0; the next token with that id, or rows.x):
// chains the tokens of one id together in index order.
// Grid: one thread a token, 256 a workgroup, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> links: array<vec2<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let m = (group.y * groups.x + group.x) * 256u + lane;
  if (m >= rows.x) { return; }
  let id = ids[m];
  var isFirst = 1u;
  for (var other = 0u; other < m; other++) {
    if (ids[other] == id) {
      isFirst = 0u;
      break;
    }
  }
  var next = m + 1u;
  while (next < rows.x && ids[next] != id) { next++; }
  links[m] = vec2<u32>(isFirst, next);
}
