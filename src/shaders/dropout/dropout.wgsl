// out = x * KEPT where the value is kept, x * LOST where it is dropped; added to out with ADD. The same for the gradient.
// A value is kept where a hash of the key, SALT and its index is at least THRESHOLD: PCG4D (Jarzynski & Olano,
// "Hash Functions for GPU Rendering", 2020), once over the key and once over (index, SALT) mixed with that.
// Grid: one thread a value, 256 a workgroup, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> key: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

fn pcg4d(seed: vec4<u32>) -> vec4<u32> {
  var v = seed * 1664525u + 1013904223u;
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  v ^= v >> vec4<u32>(16u);
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  return v;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= rows.x * LENGTH) { return; }
  let stream = pcg4d(vec4<u32>(key[0], key[1], key[2], key[3]));
  let hash = pcg4d(stream ^ vec4<u32>(i, SALT, 0u, 0u));
  var value = x[i] * select(LOST, KEPT, hash.x >= THRESHOLD);
  if (ADD) { value += out[i]; }
  out[i] = value;
}
