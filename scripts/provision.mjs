/**
 * What the tests need beside npm packages: a Chromium, a Vulkan driver for Node, and the independent readers.
 * Installs what is missing where that needs nobody's password, and says in a sentence what it could not do.
 */
import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { hasHardwareVulkan, softwareVulkan } from '../src/cli/vulkan-driver.mjs';
import { findChromium } from './chromium.mjs';
import { root, run } from './install.mjs';

/** Dawn refuses the lavapipe of older Mesa releases. */
const OLDEST_MESA = 25;

/** @returns {Record<string, string>} */
function osRelease() {
  if (!existsSync('/etc/os-release')) return {};
  const lines = readFileSync('/etc/os-release', 'utf8').split('\n');
  return Object.fromEntries(lines.map((line) => line.split('=')).filter((pair) => pair.length === 2).map(([key, value]) => [key, value.replaceAll('"', '')]));
}

const canUseApt = () => process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
const apt = (...args) => run('apt-get', ['-y', '-q', ...args], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });

/** Output of a program, or '' where it fails. */
function output(program, args) {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}

/** Major version in a Debian version string such as 25.0.7-2~bpo12+1, 0 where there is none. */
const major = (version) => Number(/^(?:\d+:)?(\d+)/.exec(version.trim())?.[1] ?? 0);
const installedMesa = () => major(output('dpkg-query', ['-W', '-f=${db:Status-Status} ${Version}', 'mesa-vulkan-drivers']).replace(/^installed /, ''));
const candidateMesa = () => major(/Candidate: (\S+)/.exec(output('apt-cache', ['policy', 'mesa-vulkan-drivers']))?.[1] ?? '');

/** Adds the release's backports beside Debian's own sources, on the same mirror. */
function addBackports(codename) {
  const suite = `${codename}-backports`;
  const modern = '/etc/apt/sources.list.d/debian.sources';
  if (existsSync(modern)) {
    const stanza = readFileSync(modern, 'utf8').split(/\n\s*\n/)[0];
    writeFileSync('/etc/apt/sources.list.d/backports.sources', `${stanza.replace(/^Suites:.*$/m, `Suites: ${suite}`).trimEnd()}\n`);
    return true;
  }
  const old = existsSync('/etc/apt/sources.list') ? readFileSync('/etc/apt/sources.list', 'utf8') : '';
  const mirror = /^deb\s+(?:\[.*?\]\s+)?(\S+)/m.exec(old)?.[1];
  if (mirror === undefined) return false;
  writeFileSync('/etc/apt/sources.list.d/backports.list', `deb ${mirror} ${suite} main\n`);
  return true;
}

/** Mesa's lavapipe from the release, or from its backports where the release has an older one. */
async function installMesa() {
  await apt('update');
  if (candidateMesa() >= OLDEST_MESA) return (await apt('install', 'mesa-vulkan-drivers')) === 0;
  const { ID, VERSION_CODENAME } = osRelease();
  if (ID !== 'debian' || !VERSION_CODENAME || !addBackports(VERSION_CODENAME)) return false;
  await apt('update');
  return (await apt('install', '-t', `${VERSION_CODENAME}-backports`, 'mesa-vulkan-drivers')) === 0;
}

/**
 * A Chromium, installed where none is found. Resolves with its path or null.
 * @returns {Promise<string | null>}
 */
export async function ensureChromium() {
  const found = await findChromium();
  if (found) return found;
  console.log('No Chromium found; installing one …');
  if (canUseApt() && osRelease().ID === 'debian') {
    await apt('update');
    await apt('install', 'chromium');
  } else {
    await run('npx', ['playwright', 'install', ...(canUseApt() ? ['--with-deps'] : []), 'chromium']);
  }
  return findChromium();
}

/**
 * The manifest that VK_ICD_FILENAMES should name for Node's WebGPU, or null where the system's own driver is to be used
 * (or none could be had: the GPU tests then fail with the sentence that says what to install).
 * @param {string | null} chromium its SwiftShader serves where Mesa is missing or too old
 * @returns {Promise<string | null>}
 */
export async function ensureVulkan(chromium) {
  if (process.env.VK_ICD_FILENAMES || hasHardwareVulkan()) return null;
  const isDebian = existsSync('/usr/bin/dpkg-query');
  let usable = isDebian ? installedMesa() >= OLDEST_MESA : softwareVulkan() !== null;
  if (!usable && canUseApt()) {
    console.log('No Vulkan driver found; installing the software one …');
    usable = await installMesa();
  }
  if (usable) return softwareVulkan();
  const swiftShader = chromium && join(dirname(realpathSync(chromium)), 'vk_swiftshader_icd.json');
  if (swiftShader && existsSync(swiftShader)) return swiftShader;
  const debianChromium = '/usr/lib/chromium/vk_swiftshader_icd.json';
  return existsSync(debianChromium) ? debianChromium : null;
}

/** The independent readers of tests/interop, in a folder and lockfile of their own. Where they do not install, their tests skip. */
export async function ensureReaders() {
  const folder = join(root, 'tests/interop/node-llama-cpp');
  if (!existsSync(join(folder, 'package.json'))) return;
  const stamp = join(folder, 'node_modules/.hone-stamp');
  const wanted = readFileSync(join(folder, 'package.json'), 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  console.log('Installing the independent readers …');
  const code = await run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-save'], { cwd: folder });
  if (code === 0) writeFileSync(stamp, wanted);
  else console.log('llama.cpp for Node could not be installed on this platform; the tests that need it will skip.');
}
