/**
 * Which Vulkan driver Node's WebGPU should use. Plain JavaScript on Node's built-ins: scripts/test.mjs needs it
 * before anything is installed or compiled.
 */
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';

const MANIFEST_FOLDERS = ['/usr/share/vulkan/icd.d', '/usr/local/share/vulkan/icd.d', '/etc/vulkan/icd.d'];

/** SwiftShader as Chromium and Chrome carry it: 4 to 5 times slower than Mesa's lavapipe. */
const SWIFTSHADER = ['/usr/lib/chromium/vk_swiftshader_icd.json', '/opt/google/chrome/vk_swiftshader_icd.json'];

/** @param {string} folder */
const list = (folder) => (existsSync(folder) ? readdirSync(folder) : []);

const manifests = () =>
  MANIFEST_FOLDERS.flatMap((folder) =>
    list(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(folder, name)),
  );

/** @param {string} path */
const isLavapipe = (path) => basename(path).startsWith('lvp_');

/**
 * True where a GPU with a driver of its own is there: macOS and Windows bring one; Linux must show both a device node
 * and a manifest, for Mesa installs the manifests of all its drivers and containers often have the node alone.
 * @returns {boolean}
 */
export function hasHardwareVulkan() {
  if (process.platform !== 'linux') return true;
  const names = manifests()
    .filter((path) => !isLavapipe(path))
    .map((path) => basename(path));
  if (existsSync('/dev/nvidiactl') && names.some((name) => name.includes('nvidia'))) return true;
  if (existsSync('/dev/dxg') && names.some((name) => name.startsWith('dzn'))) return true;
  return list('/dev/dri').some((name) => name.startsWith('renderD')) && names.some((name) => !/nvidia|dzn/.test(name));
}

/**
 * The manifest of a software driver, the faster one first, or null where none is installed.
 * @returns {string | null}
 */
export function softwareVulkan() {
  return manifests().find(isLavapipe) ?? SWIFTSHADER.find((path) => existsSync(path)) ?? null;
}
