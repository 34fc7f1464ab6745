/**
 * The rules that keep the parts apart, as functions from sources to complaints, so that they can be tried on made-up sources.
 */
import { builtinModules } from 'node:module';
import { posix } from 'node:path';
import ts from 'typescript';

/** A file of the project: its path from the repository's root, with forward slashes, and its text. */
export interface Source {
  path: string;
  text: string;
}

const BELOW_THE_ENDS = [
  ...['core', 'runtime', 'autograd', 'shaders', 'models', 'training'],
  ...['data', 'gguf', 'safetensors', 'formats', 'storage', 'exports'],
];

/** Folders of src/ and the folders each may import, itself included. A folder without a line here may hold no source. */
export const LAYERS: Record<string, readonly string[]> = {
  core: ['core'],
  runtime: ['core', 'runtime'],
  autograd: ['core', 'runtime', 'autograd'],
  shaders: ['core', 'runtime', 'autograd', 'shaders'],
  models: ['core', 'runtime', 'autograd', 'shaders', 'models'],
  data: ['core', 'data'],
  gguf: ['core', 'gguf'],
  safetensors: ['core', 'safetensors'],
  storage: ['core', 'storage'],
  formats: ['core', 'gguf', 'safetensors', 'formats'],
  exports: ['core', 'data', 'gguf', 'safetensors', 'formats', 'exports'],
  training: ['core', 'runtime', 'autograd', 'shaders', 'models', 'data', 'storage', 'training'],
  workers: [...BELOW_THE_ENDS, 'workers'],
  cli: [...BELOW_THE_ENDS, 'cli'],
  ui: ['ui'],
};

/** The contract that the page sees, and the only module below it that the contract itself may load. */
const API = 'src/workers/api';
const RECIPE = 'src/training/recipe';

/** The one file that may ask the network for something: the hub's client, which also reads the page's own files. */
export const FETCHER = 'src/storage/hub.ts';

/** Where Node's own modules may be used: everything else must run in a browser. */
const isNodeCode = (path: string): boolean => path.startsWith('src/cli/') || /^src\/storage\/(folder|node)(-[a-z-]+)?\.ts$/.test(path);

const SENDERS = new Set(['fetch', 'XMLHttpRequest', 'WebSocket', 'WebTransport', 'EventSource', 'sendBeacon', 'RTCPeerConnection', 'importScripts']);

/** The script of a source: of a Svelte component its script blocks, of any other file all of it. */
function script(source: Source): string {
  if (!source.path.endsWith('.svelte')) return source.text;
  return [...source.text.matchAll(/<script\b[^>]*>([\s\S]*?)<\/script>/g)].map((match) => match[1]).join('\n');
}

/** Every module a source names: imports, re-exports, dynamic imports and types. */
export function specifiers(source: Source): string[] {
  return ts.preProcessFile(script(source), true, true).importedFiles.map((file) => file.fileName);
}

/** Name of the npm package in a bare specifier: `@a/b/c` is `@a/b`. */
export const packageName = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

const isNodeModule = (specifier: string): boolean => specifier.startsWith('node:') || builtinModules.includes(specifier);

/** A relative specifier as a path from the root, without query and extension. */
function target(path: string, specifier: string): string {
  const plain = specifier.replace(/\?.*$/, '');
  return posix.join(posix.dirname(path), plain).replace(/\.(ts|js|mjs)$/, '');
}

function relativeComplaint(path: string, folder: string, specifier: string): string | null {
  const file = target(path, specifier);
  const [top, into = ''] = file.split('/');
  // `hone bench` is a command like the others; its cases lie beside the peers they are measured against.
  if (top === 'bench' && folder === 'cli') return null;
  if (top !== 'src') return `${path} imports ${specifier}, which lies outside src`;
  if (isNodeCode(`${file}.ts`) && !isNodeCode(path)) return `${path} imports ${specifier}, which needs Node`;
  if (path === 'src/workers/api.ts') {
    return into === 'core' || file === RECIPE ? null : `${path} imports ${specifier}: the page's contract loads core and ${RECIPE}.ts alone`;
  }
  if (file === RECIPE && path.startsWith('src/workers/')) return null;
  if (path === `${RECIPE}.ts`) return into === 'core' ? null : `${path} imports ${specifier}: the page loads it, so it stands on core alone`;
  // A worker's address (`?worker…`) brings none of its code into the page.
  if (folder === 'ui' && (file === API || (into === 'workers' && /\?worker\b/.test(specifier)))) return null;
  return LAYERS[folder]?.includes(into) ? null : `${path} imports ${specifier}: ${folder} may not import ${into}`;
}

/** Imports that cross a layer, leave src, or are neither relative nor an npm package of package.json. */
export function importComplaints(sources: readonly Source[], packages: ReadonlySet<string>): string[] {
  const complaints: string[] = [];
  for (const source of sources) {
    const folder = source.path.split('/')[1] ?? '';
    const inSrc = source.path.startsWith('src/');
    if (inSrc && !(folder in LAYERS)) complaints.push(`${source.path}: no layer is called ${folder}`);
    for (const specifier of specifiers(source)) {
      if (specifier.startsWith('.')) {
        const complaint = inSrc && folder in LAYERS ? relativeComplaint(source.path, folder, specifier) : null;
        if (complaint) complaints.push(complaint);
      } else if (isNodeModule(specifier)) {
        if (inSrc && !isNodeCode(source.path)) complaints.push(`${source.path} imports ${specifier}, which browsers do not have`);
      } else if (!packages.has(packageName(specifier))) {
        complaints.push(`${source.path} imports ${specifier}, which package.json does not list`);
      }
    }
  }
  return complaints;
}

/** Identifiers of a script, comments and strings left out. */
function identifiers(text: string): Set<string> {
  const found = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) found.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('source.ts', text, ts.ScriptTarget.Latest));
  return found;
}

/** Sources under src/, the hub's client aside, that could send or ask for something over the network. */
export function networkComplaints(sources: readonly Source[]): string[] {
  return sources
    .filter((source) => source.path.startsWith('src/') && source.path !== FETCHER)
    .flatMap((source) => {
      const markup = source.path.endsWith('.svelte') && /\bfetch\s*\(/.test(source.text) ? ['fetch'] : [];
      const named = [...identifiers(script(source))].filter((name) => SENDERS.has(name));
      return [...new Set([...named, ...markup])].map((name) => `${source.path} uses ${name}: only ${FETCHER} may`);
    });
}

/** Words are put together here so that this file does not contain what it looks for. */
const FOREIGN: readonly [RegExp, string][] = [
  [new RegExp(['registry', 'npmjs', 'org'].join('\\.')), "a package registry's host"],
  [new RegExp(['registry', 'yarnpkg', 'com'].join('\\.')), "a package registry's host"],
  [new RegExp(['files', 'pythonhosted', 'org'].join('\\.')), "a package registry's host"],
  [new RegExp(`(?<![\\w.])${['', '(work|tmp|root|home)', ''].join('/')}[\\w.]`), "one machine's path"],
];

/** Committed text that names a package registry's host or one machine's folders. */
export function foreignComplaints(sources: readonly Source[]): string[] {
  return sources.flatMap((source) =>
    source.text
      .split('\n')
      .flatMap((line, index) => FOREIGN.filter(([pattern]) => pattern.test(line)).map(([, what]) => `${source.path}:${index + 1} names ${what}`)),
  );
}

/** Files whose name says nothing about their subject. */
export function nameComplaints(paths: readonly string[]): string[] {
  return paths.filter((path) => /(^|\/)(utils?|helpers?|misc|common)\.[a-z.]+$/.test(path)).map((path) => `${path}: name the subject`);
}
