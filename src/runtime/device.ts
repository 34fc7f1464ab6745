import { DeviceError } from '../core/errors';

/** The GPU as the engine uses it: one device, its limits, and a count of what it gave out. */
export interface Gpu {
  readonly device: GPUDevice;
  readonly info: { vendor: string; architecture: string; description: string; software: boolean };
  readonly limits: GPUSupportedLimits;
  readonly features: ReadonlySet<string>;
  /** Lanes of a subgroup where the adapter promises one width and the feature is on, else 0. */
  readonly subgroupSize: number;
  /** Pipelines by their WGSL and binding layout: compiled once a device. */
  readonly pipelines: Map<string, Promise<GPUComputePipeline>>;
  /** Bytes of buffers now alive, and the most there ever were. */
  readonly memory: { allocated: number; peak: number };
  /** Submits so far. */
  readonly counters: { submits: number; dispatches: number };
  /** Resolves with the browser's words when the device is lost. */
  readonly lost: Promise<string>;
}

/** Raised as far as the adapter goes: model weights are larger than WebGPU's defaults. */
const RAISED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

const OPTIONAL_FEATURES = ['subgroups', 'shader-f16', 'timestamp-query'] as const;

/**
 * Dawn in Node aborts when the garbage collector takes the GPU or adapter while the device lives,
 * so everything that was opened stays reachable from the global object.
 */
const kept: object[] = ((globalThis as { honeKeptGpus?: object[] }).honeKeptGpus ??= []);

/** Opens a device with the adapter's own limits. Throws a DeviceError that says what to do where there is none. */
export async function openDevice(gpu: GPU | undefined): Promise<Gpu> {
  if (!gpu) {
    throw new DeviceError("This browser can't train on your GPU: it has no WebGPU. Use a current Chrome or Edge.");
  }
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    throw new DeviceError('No usable GPU was found. Turn on hardware acceleration, update the graphics driver, and restart the browser.');
  }
  const requiredLimits: Record<string, number> = {};
  for (const name of RAISED_LIMITS) requiredLimits[name] = adapter.limits[name];
  const requiredFeatures = OPTIONAL_FEATURES.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
  const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
  kept.push(gpu, adapter, device);
  const { vendor, architecture, description } = adapter.info;
  const info = { vendor, architecture, description, software: isSoftware(adapter.info) };
  const { subgroupMinSize = 0, subgroupMaxSize = 0 } = adapter.info;
  const uniform = subgroupMinSize === subgroupMaxSize && device.features.has('subgroups');
  return {
    device,
    info,
    limits: device.limits,
    features: device.features,
    subgroupSize: uniform ? subgroupMinSize : 0,
    pipelines: new Map(),
    memory: { allocated: 0, peak: 0 },
    counters: { submits: 0, dispatches: 0 },
    lost: device.lost.then((reason) => reason.message || reason.reason),
  };
}

function isSoftware(info: GPUAdapterInfo): boolean {
  const words = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`.toLowerCase();
  return (info as { isFallbackAdapter?: boolean }).isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|software/.test(words);
}

/** Storage buffers are sized in whole multiples of this, so that vec4 and uniform bindings always fit. */
export const BUFFER_ALIGNMENT = 256;

export function alignBytes(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / BUFFER_ALIGNMENT)) * BUFFER_ALIGNMENT;
}

/** A buffer that is counted. Throws a DeviceError where it is larger than the device allows. */
export function createBuffer(gpu: Gpu, label: string, bytes: number, usage: number): GPUBuffer {
  const size = alignBytes(bytes);
  if (size > gpu.limits.maxBufferSize) {
    throw new DeviceError(
      `${label} needs a buffer of ${mib(size)}, and this GPU allows ${mib(gpu.limits.maxBufferSize)}. Choose a smaller model, rank, or length.`,
    );
  }
  const buffer = gpu.device.createBuffer({ label, size, usage });
  gpu.memory.allocated += size;
  gpu.memory.peak = Math.max(gpu.memory.peak, gpu.memory.allocated);
  return buffer;
}

/** Storage that kernels read and write and that can be filled and read back. */
export function createStorage(gpu: Gpu, label: string, bytes: number): GPUBuffer {
  return createBuffer(gpu, label, bytes, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC);
}

/** Frees a counted buffer. */
export function destroyBuffer(gpu: Gpu, buffer: GPUBuffer): void {
  gpu.memory.allocated -= buffer.size;
  buffer.destroy();
}

export function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

/**
 * Copies `bytes` from a buffer to the CPU. A lost device never answers, so the wait ends with a
 * DeviceError when the device is lost.
 */
export async function readBuffer(gpu: Gpu, buffer: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
  const staging = gpu.device.createBuffer({ label: 'readback', size: Math.ceil(bytes / 4) * 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = gpu.device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, offset, staging, 0, staging.size);
  gpu.device.queue.submit([encoder.finish()]);
  gpu.counters.submits++;
  await orLost(gpu, staging.mapAsync(GPUMapMode.READ));
  const copy = staging.getMappedRange().slice(0, bytes);
  staging.destroy();
  return copy;
}

/** Waits for `work`, or throws a DeviceError where the device is lost first. */
export async function orLost<T>(gpu: Gpu, work: Promise<T>): Promise<T> {
  const lost = gpu.lost.then((reason) => {
    throw new DeviceError(`The GPU was lost (${reason}). Nothing saved is gone; resume from the last checkpoint.`);
  });
  return Promise.race([work, lost]);
}

/** What a kernel variant may ask of a device. */
export interface DeviceTraits {
  /** Lanes of a subgroup where it is one promised width, else 0 (no subgroup kernels). */
  subgroupSize: number;
  /** A CPU that plays GPU: loads cost far more than arithmetic there, and shared memory gains nothing. */
  software: boolean;
  maxComputeInvocationsPerWorkgroup: number;
  maxComputeWorkgroupStorageSize: number;
  /** Bytes; larger matrices are cut into row shards. */
  maxStorageBufferBindingSize: number;
}

/** The traits that kernels are chosen by. */
export function traitsOf(gpu: Gpu): DeviceTraits {
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize, maxStorageBufferBindingSize } = gpu.limits;
  return {
    subgroupSize: gpu.subgroupSize,
    software: gpu.info.software,
    maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupStorageSize,
    maxStorageBufferBindingSize: Math.min(maxStorageBufferBindingSize, gpu.limits.maxBufferSize),
  };
}
