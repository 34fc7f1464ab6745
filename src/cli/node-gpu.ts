/**
 * WebGPU in Node: Dawn from the `webgpu` package, on the machine's Vulkan, Metal or D3D12 driver.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeviceError } from '../core/errors';
import { hasHardwareVulkan, softwareVulkan } from './vulkan-driver.mjs';

/** Points the Vulkan loader at a software driver where nothing better is there. Must run before Dawn is loaded. */
function chooseVulkanDriver(): void {
  if (process.platform !== 'linux') return;
  if (!process.env['XDG_RUNTIME_DIR']) process.env['XDG_RUNTIME_DIR'] = mkdtempSync(join(tmpdir(), 'hone-xdg-'));
  if (process.env['VK_ICD_FILENAMES'] || process.env['VK_DRIVER_FILES'] || hasHardwareVulkan()) return;
  const driver = softwareVulkan();
  if (driver) process.env['VK_ICD_FILENAMES'] = driver;
}

/** What stays reachable for the life of the process: Dawn aborts when the collector takes these while a device lives. */
const kept = globalThis as typeof globalThis & { honeNodeGpu?: Promise<GPU>; honeNodeGpuProbe?: GPUAdapter };

async function createGpu(): Promise<GPU> {
  chooseVulkanDriver();
  let dawn: typeof import('webgpu');
  try {
    dawn = await import('webgpu');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DeviceError(`The npm package "webgpu" could not be loaded (${reason}); run "npm ci" in Hone's folder on Node 20.19 or newer.`);
  }
  Object.assign(globalThis, dawn.globals);
  restPolling();
  const gpu = dawn.create([]);
  const adapter = await gpu.requestAdapter();
  if (!adapter) {
    const driver = process.env['VK_ICD_FILENAMES'];
    throw new DeviceError(
      `Node found no WebGPU adapter (Vulkan driver: ${driver ?? 'the system default'}); install your graphics card's Vulkan driver, ` +
        'or Mesa 25 or newer for software rendering (Debian, Ubuntu: "apt-get install mesa-vulkan-drivers", from backports where the release has an older one).',
    );
  }
  kept.honeNodeGpuProbe = adapter;
  return gpu;
}

/** Immediates in a row that run at once, and the pause between later ones. */
const EAGER_POLLS = 50;
const POLL_MS = 1;

/**
 * While GPU work is pending, Dawn's Node binding asks for events through the global setImmediate over and over, which
 * keeps a whole core busy: one that a software adapter needs for the work itself. Past the first few in a row the
 * polls wait a moment. Node's own modules do not use the global, so nothing else is slowed.
 */
function restPolling(): void {
  const immediate = globalThis.setImmediate;
  let polls = 0;
  let last = 0;
  const rested = (callback: (...args: unknown[]) => void, ...args: unknown[]): unknown => {
    const now = performance.now();
    polls = now - last > 5 * POLL_MS ? 0 : polls + 1;
    last = now;
    return polls < EAGER_POLLS ? immediate(callback, ...args) : setTimeout(callback, POLL_MS, ...args);
  };
  globalThis.setImmediate = Object.assign(rested, immediate) as typeof setImmediate;
}

/**
 * The process's WebGPU entry point, created once. Throws DeviceError where no adapter is found.
 * Also defines the WebGPU globals (GPUBufferUsage, …), as a browser does.
 */
export function nodeGpu(): Promise<GPU> {
  kept.honeNodeGpu ??= createGpu();
  return kept.honeNodeGpu;
}
