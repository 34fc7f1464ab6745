// AdamW (Loshchilov & Hutter 2019), each rounding where torch.optim.AdamW has it: g = gradient * clip;
// w = w * (1 - lr * weight_decay); m = m + (1 - b1) * (g - m); v = b2 * v + (1 - b2) * g * g;
// w = w - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps). Nothing changes where state[2] says the gradient is not finite.
// Grid: one thread a vector, 256 a workgroup, folded over y. No barriers.
@group(0) @binding(0) var<uniform> rows: vec4<u32>;
@group(0) @binding(1) var<storage, read> gradient: array<vecN>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read> state: array<f32>;
@group(0) @binding(4) var<storage, read_write> parameter: array<vecN>;
@group(0) @binding(5) var<storage, read_write> expAvg: array<vecN>;
@group(0) @binding(6) var<storage, read_write> expAvgSq: array<vecN>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= VECTORS || state[2] != 0.0) { return; }
  let d = gradient[i] * state[1];
  let m = expAvg[i] + hyper[ONE_MINUS_BETA1] * (d - expAvg[i]);
  let v = hyper[BETA2] * expAvgSq[i] + hyper[ONE_MINUS_BETA2] * d * d;
  let denominator = sqrt(v) / hyper[CORRECTION2] + hyper[EPSILON];
  parameter[i] = parameter[i] * hyper[DECAY] - hyper[STEP_SIZE] * (m / denominator);
  expAvg[i] = m;
  expAvgSq[i] = v;
}
