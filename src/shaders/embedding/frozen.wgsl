// out[m] = weight[ids[m]], weight as stored, for the ids in this shard's ROWS rows from FIRST_ROW; the first shard's
// dispatch sets the rest to 0, later ones leave it. weight4(row, quad) stands in front (linear/readers.ts).
// Grid: one thread a quad of columns, 256 a workgroup, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(OUT) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= rows.x * QUADS) { return; }
  let id = ids[i / QUADS];
  let inShard = id >= FIRST_ROW && id - FIRST_ROW < ROWS;
  if (!inShard && FIRST_ROW > 0u) { return; }
  let quad = i % QUADS;
  let values = select(vec4<f32>(0.0), weight4(select(0u, id - FIRST_ROW, inShard), quad), inShard);
  let at = (i / QUADS) * C + quad * 4u;
  for (var j = 0u; j < min(C - quad * 4u, 4u); j++) { out[at + j] = values[j]; }
}
