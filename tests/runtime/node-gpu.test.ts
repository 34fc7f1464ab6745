import { expect, it } from 'vitest';
import { nodeGpu } from '../gpu';

it('gives an adapter of which a buffer can be mapped, filled and read back', async () => {
  const gpu = await nodeGpu();
  const adapter = await gpu.requestAdapter();
  const device = await adapter!.requestDevice();
  const source = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
  const target = device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(source, 0, new Float32Array([1, 2, 3, 5]));
  const commands = device.createCommandEncoder();
  commands.copyBufferToBuffer(source, 0, target, 0, 16);
  device.queue.submit([commands.finish()]);
  await target.mapAsync(GPUMapMode.READ);
  expect([...new Float32Array(target.getMappedRange())]).toEqual([1, 2, 3, 5]);
  device.destroy();
});

it('is created once a process', async () => {
  expect(await nodeGpu()).toBe(await nodeGpu());
});
