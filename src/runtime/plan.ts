import type { OnProgress } from '../core/progress';
import type { Arena } from './arena';
import { BUFFER_ALIGNMENT, createBuffer, destroyBuffer, orLost, type Gpu } from './device';
import type { Pacer } from './pacer';
import { currentRows, tensorBytes, type Access, type Dispatch, type Rows, type Tensor } from './program';

/** A dispatch with its pipeline and buffers: all that is left to do is to replay it. */
interface Recorded {
  pipeline: GPUComputePipeline;
  bindGroup: GPUBindGroup;
  dispatch: Dispatch;
}

/**
 * A program that has memory and pipelines. `run` replays it for the dims' current values:
 * nothing is compiled or allocated there.
 */
export class Plan {
  private constructor(
    private readonly gpu: Gpu,
    private readonly recorded: readonly Recorded[],
    private readonly dims: readonly Rows[],
    private readonly uniform: GPUBuffer,
  ) {}

  /** Compiles all pipelines and binds all buffers; `slots` is what `arena.layout` gave for these dispatches. */
  static async record(
    gpu: Gpu,
    dispatches: readonly Dispatch[],
    arena: Arena,
    slots: ReadonlyMap<Tensor, number>,
    onProgress?: OnProgress,
  ): Promise<Plan> {
    arena.allocate(gpu);
    const dims = [...new Set(dispatches.map((dispatch) => dispatch.rows))];
    const uniform = createBuffer(gpu, 'rows', dims.length * BUFFER_ALIGNMENT, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    const pipelines = await compileAll(gpu, dispatches, onProgress);
    const recorded = dispatches.map((dispatch, i) => {
      const entries: GPUBindGroupEntry[] = [
        { binding: 0, resource: { buffer: uniform, offset: dims.indexOf(dispatch.rows) * BUFFER_ALIGNMENT, size: 16 } },
      ];
      dispatch.bindings.forEach(({ tensor }, j) => entries.push({ binding: j + 1, resource: bufferOf(tensor, arena, slots) }));
      const layout = bindGroupLayout(gpu, dispatch);
      return { pipeline: pipelines[i]!, bindGroup: gpu.device.createBindGroup({ layout, entries }), dispatch };
    });
    return new Plan(gpu, recorded, dims, uniform);
  }

  /** Replays the program in order. Resolves when all work is submitted, not when it is done. */
  async run(pacer: Pacer): Promise<void> {
    const { device } = this.gpu;
    const values = new Uint32Array((this.dims.length * BUFFER_ALIGNMENT) / 4);
    this.dims.forEach((dim, i) => (values[(i * BUFFER_ALIGNMENT) / 4] = currentRows(dim)));
    device.queue.writeBuffer(this.uniform, 0, values);
    let at = 0;
    while (at < this.recorded.length) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      let work = 0;
      while (at < this.recorded.length && work < pacer.workPerSubmit) {
        work += this.encode(pass, this.recorded[at]!);
        at++;
      }
      pass.end();
      await pacer.submit(encoder.finish(), work);
    }
  }

  private encode(pass: GPUComputePassEncoder, { pipeline, bindGroup, dispatch }: Recorded): number {
    const rows = currentRows(dispatch.rows);
    if (rows === 0) return 0;
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(...dispatch.grid(rows));
    this.gpu.counters.dispatches++;
    return dispatchWork(dispatch, rows);
  }

  /** Seconds spent by each kernel name in one run, each dispatch timed by itself on the GPU's clock. Slow; for benches. */
  async profile(): Promise<Map<string, { seconds: number; flops: number; dispatches: number }>> {
    const { device } = this.gpu;
    const totals = new Map<string, { seconds: number; flops: number; dispatches: number }>();
    const querySet = device.createQuerySet({ type: 'timestamp', count: 2 });
    const resolved = device.createBuffer({ size: 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
    const staging = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    for (const item of this.recorded) {
      const rows = currentRows(item.dispatch.rows);
      if (rows === 0) continue;
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } });
      this.encode(pass, item);
      pass.end();
      encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16);
      device.queue.submit([encoder.finish()]);
      await orLost(this.gpu, staging.mapAsync(GPUMapMode.READ));
      const [begin, end] = new BigUint64Array(staging.getMappedRange().slice(0)) as unknown as [bigint, bigint];
      staging.unmap();
      const entry = totals.get(item.dispatch.kernel.name) ?? { seconds: 0, flops: 0, dispatches: 0 };
      entry.seconds += Number(end - begin) / 1e9;
      entry.flops += item.dispatch.flopsPerRow * rows;
      entry.dispatches++;
      totals.set(item.dispatch.kernel.name, entry);
    }
    for (const each of [resolved, staging]) each.destroy();
    querySet.destroy();
    return totals;
  }

  /** Work of one run at the dims' current values, in the pacer's unit. */
  get work(): number {
    return this.recorded.reduce((sum, { dispatch }) => sum + dispatchWork(dispatch, currentRows(dispatch.rows)), 0);
  }

  destroy(): void {
    destroyBuffer(this.gpu, this.uniform);
  }
}

/** Bytes a plan takes beside its arena and its external tensors. */
export function planBytes(dispatches: readonly Dispatch[]): number {
  return new Set(dispatches.map((dispatch) => dispatch.rows)).size * BUFFER_ALIGNMENT;
}

/** FLOPs, and a floor that stands for what a dispatch costs by itself. */
function dispatchWork(dispatch: Dispatch, rows: number): number {
  return rows === 0 ? 0 : dispatch.flopsPerRow * rows + 2e5;
}

function bufferOf(tensor: Tensor, arena: Arena, slots: ReadonlyMap<Tensor, number>): GPUBufferBinding {
  if (tensor.range) return { ...tensor.range };
  const slot = slots.get(tensor);
  if (slot === undefined) throw new Error(`Tensor ${tensor.name} has no memory in this plan.`);
  return { buffer: arena.buffer(slot), offset: 0, size: Math.max(16, Math.ceil(tensorBytes(tensor) / 16) * 16) };
}

const layouts = new WeakMap<GPUDevice, Map<string, GPUBindGroupLayout>>();

function layoutKey(dispatch: Dispatch): string {
  return dispatch.bindings.map(({ access }) => (access === 'read' ? 'r' : 'w')).join('');
}

function bindGroupLayout(gpu: Gpu, dispatch: Dispatch): GPUBindGroupLayout {
  const cache = layouts.get(gpu.device) ?? new Map<string, GPUBindGroupLayout>();
  layouts.set(gpu.device, cache);
  const key = layoutKey(dispatch);
  const cached = cache.get(key);
  if (cached) return cached;
  const type = (access: Access): GPUBufferBindingType => (access === 'read' ? 'read-only-storage' : 'storage');
  const layout = gpu.device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform' } },
      ...dispatch.bindings.map(({ access }, i) => ({ binding: i + 1, visibility: GPUShaderStage.COMPUTE, buffer: { type: type(access) } })),
    ],
  });
  cache.set(key, layout);
  return layout;
}

async function compileAll(gpu: Gpu, dispatches: readonly Dispatch[], onProgress?: OnProgress): Promise<GPUComputePipeline[]> {
  const unique = new Set<Promise<GPUComputePipeline>>();
  const pipelines = dispatches.map((dispatch) => {
    const pipeline = pipelineOf(gpu, dispatch);
    unique.add(pipeline);
    return pipeline;
  });
  let done = 0;
  for (const pipeline of unique) {
    await pipeline;
    onProgress?.({ label: 'Preparing the GPU', done: ++done, total: unique.size, unit: 'kernels' });
  }
  return Promise.all(pipelines);
}

function pipelineOf(gpu: Gpu, dispatch: Dispatch): Promise<GPUComputePipeline> {
  const key = `${layoutKey(dispatch)}\n${dispatch.kernel.code}`;
  const cached = gpu.pipelines.get(key);
  if (cached) return cached;
  const { device } = gpu;
  const module = device.createShaderModule({ label: dispatch.kernel.name, code: dispatch.kernel.code });
  const layout = device.createPipelineLayout({ bindGroupLayouts: [bindGroupLayout(gpu, dispatch)] });
  const pipeline = device
    .createComputePipelineAsync({ label: dispatch.kernel.name, layout, compute: { module, entryPoint: 'main' } })
    .catch(async (cause: unknown) => {
      const { messages } = await module.getCompilationInfo();
      const details = messages.map((m) => `${m.lineNum}:${m.linePos} ${m.message}`).join('; ');
      throw new Error(`Kernel ${dispatch.kernel.name} does not compile: ${details || String(cause)}\n${numbered(dispatch.kernel.code)}`);
    });
  gpu.pipelines.set(key, pipeline);
  return pipeline;
}

function numbered(code: string): string {
  return code
    .split('\n')
    .map((line, i) => `${String(i + 1).padStart(4)} ${line}`)
    .join('\n');
}
