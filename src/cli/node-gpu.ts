/**
 * WebGPU in Node: Dawn from the `webgpu` package, on the machine's Vulkan, Metal or D3D12 driver.
 */
import { existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeviceError } from '../core/errors';

/** Software Vulkan drivers, the faster one first. */
const SOFTWARE_DRIVERS = [
  '/usr/share/vulkan/icd.d/lvp_icd.json',
  '/usr/share/vulkan/icd.d/lvp_icd.x86_64.json',
  '/usr/share/vulkan/icd.d/lvp_icd.aarch64.json',
  '/usr/lib/chromium/vk_swiftshader_icd.json',
  '/opt/google/chrome/vk_swiftshader_icd.json',
];

/**
 * True where a GPU with a driver of its own is likely: macOS and Windows bring one, Linux shows a device node.
 * Mesa installs the manifests of all its drivers, so a manifest alone proves nothing.
 */
export function hasHardwareGpu(): boolean {
  if (process.platform !== 'linux') return true;
  if (existsSync('/dev/nvidiactl') || existsSync('/dev/dxg')) return true;
  return existsSync('/dev/dri') && readdirSync('/dev/dri').some((name) => name.startsWith('renderD'));
}

/** Points the Vulkan loader at a software driver where nothing better is there. Must run before Dawn is loaded. */
function chooseVulkanDriver(): void {
  if (process.platform !== 'linux') return;
  if (!process.env['XDG_RUNTIME_DIR']) process.env['XDG_RUNTIME_DIR'] = mkdtempSync(join(tmpdir(), 'hone-xdg-'));
  if (process.env['VK_ICD_FILENAMES'] || process.env['VK_DRIVER_FILES'] || hasHardwareGpu()) return;
  const driver = SOFTWARE_DRIVERS.find((path) => existsSync(path));
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

/**
 * The process's WebGPU entry point, created once. Throws DeviceError where no adapter is found.
 * Also defines the WebGPU globals (GPUBufferUsage, …), as a browser does.
 */
export function nodeGpu(): Promise<GPU> {
  kept.honeNodeGpu ??= createGpu();
  return kept.honeNodeGpu;
}
