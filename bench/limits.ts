import { createStorage, destroyBuffer, orLost, type Gpu } from '../src/runtime/device';

/** One figure of what a device can do at most: `sample` measures it once. */
export interface Limit {
  name: string;
  unit: string;
  sample: () => Promise<number>;
}

const WORKGROUPS = 1024;
const LANES = 64;

/** f32 multiply-adds in registers: eight chains of vec4 that nothing has to be loaded for. */
const FMA_STEPS = 1024;
const FMA_FLOPS = 8 * 4 * 2 * FMA_STEPS * LANES * WORKGROUPS;
const fmaCode = `
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;
@compute @workgroup_size(${LANES})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let m = source[id.x & 63u];
  let c = source[64u + (id.x & 63u)];
  ${range(8, (i) => `var a${i} = m + ${i}.5;`)}
  for (var k = 0u; k < ${FMA_STEPS / 8}u; k++) {
    ${range(8, () => range(8, (i) => `a${i} = fma(a${i}, m, c);`))}
  }
  result[id.x] = ${range(8, (i) => `a${i}`, ' + ')};
}`;

/** A plain read of 64 MiB, 16 vec4 an invocation. */
const READ_BYTES = 64 * 2 ** 20;
const readCode = `
@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var sum = vec4<f32>(0.0);
  for (var k = 0u; k < 16u; k++) { sum += source[group.x * ${16 * LANES}u + k * ${LANES}u + lane]; }
  result[group.x * ${LANES}u + lane] = sum;
}`;

function range(count: number, code: (i: number) => string, separator = '\n    '): string {
  return Array.from({ length: count }, (_, i) => code(i)).join(separator);
}

/** The device's own limits on arithmetic (GFLOP/s) and on reading memory (GB/s). `close` frees the buffers. */
export async function deviceLimits(gpu: Gpu): Promise<{ limits: Limit[]; close: () => void }> {
  const source = createStorage(gpu, 'limits source', READ_BYTES);
  const result = createStorage(gpu, 'limits result', WORKGROUPS * LANES * 16);
  const time = async (code: string, groups: number): Promise<() => Promise<number>> => {
    const { device } = gpu;
    const module = device.createShaderModule({ code });
    const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
    const entries = [source, result].map((buffer, binding) => ({ binding, resource: { buffer } }));
    const bindGroup = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    return async () => {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(groups);
      pass.end();
      const start = performance.now();
      device.queue.submit([encoder.finish()]);
      await orLost(gpu, device.queue.onSubmittedWorkDone());
      return (performance.now() - start) / 1e3;
    };
  };
  const fma = await time(fmaCode, WORKGROUPS);
  const read = await time(readCode, READ_BYTES / (16 * 16 * LANES));
  return {
    limits: [
      { name: 'multiply-add in registers', unit: 'GFLOP/s', sample: async () => FMA_FLOPS / (await fma()) / 1e9 },
      { name: 'reading 64 MiB', unit: 'GB/s', sample: async () => READ_BYTES / (await read()) / 1e9 },
    ],
    close: () => [source, result].forEach((buffer) => destroyBuffer(gpu, buffer)),
  };
}
