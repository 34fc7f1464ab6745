import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { FETCHER, foreignComplaints, importComplaints, LAYERS, nameComplaints, networkComplaints, packageName, specifiers, type Source } from './rules';

const root = fileURLToPath(new URL('../../', import.meta.url));
const packages = new Set(['zod', '@scope/name']);
const source = (path: string, text: string): Source => ({ path, text });
const imports = (path: string, text: string): string[] => importComplaints([source(path, text)], packages);

describe('the import rules, tried on made-up sources', () => {
  it('let a folder import itself and what lies below it', () => {
    expect(imports('src/models/decoder.ts', "import { a } from '../core/errors';\nexport * from './lora';\nimport type { P } from '../runtime/plan';")).toEqual([]);
  });

  it('refuse an import of a higher layer', () => {
    expect(imports('src/core/bytes.ts', "import { train } from '../training/train';")).toHaveLength(1);
    expect(imports('src/runtime/plan.ts', "import { decoder } from '../models/decoder';")).toHaveLength(1);
  });

  it('refuse GPU code in the folders that stand on core', () => {
    for (const folder of ['data', 'gguf', 'safetensors', 'storage', 'exports']) {
      expect(imports(`src/${folder}/a/b.ts`, "import { openDevice } from '../../runtime/device';")).toHaveLength(1);
    }
  });

  it('see type imports, re-exports, dynamic imports and Svelte scripts', () => {
    expect(imports('src/core/a.ts', "import type { Plan } from '../runtime/plan';")).toHaveLength(1);
    expect(imports('src/core/a.ts', "export { plan } from '../runtime/plan';")).toHaveLength(1);
    expect(imports('src/core/a.ts', "const plan = await import('../runtime/plan');")).toHaveLength(1);
    expect(imports('src/ui/A.svelte', "<script lang=\"ts\">\nimport { train } from '../training/train';\n</script>\n<p>hello</p>")).toHaveLength(1);
  });

  it('show the page the workers’ contract and their addresses, and nothing else below it', () => {
    expect(imports('src/ui/state/a.ts', "import type { Recipe } from '../../workers/api';")).toEqual([]);
    expect(imports('src/ui/state/a.ts', "import Trainer from '../../workers/trainer?worker&inline';")).toEqual([]);
    expect(imports('src/ui/state/a.ts', "import { run } from '../../workers/trainer';")).toHaveLength(1);
    expect(imports('src/ui/state/a.ts', "import { HoneError } from '../../core/errors';")).toHaveLength(1);
  });

  it('keep the contract free of everything but core and the recipe', () => {
    expect(imports('src/workers/api.ts', "export { parseRecipe } from '../training/recipe';\nimport type { M } from '../core/model';")).toEqual([]);
    expect(imports('src/workers/api.ts', "import { train } from '../training/train';")).toHaveLength(1);
    expect(imports('src/training/recipe.ts', "import { rows } from '../data/rows';")).toHaveLength(1);
  });

  it('refuse what lies outside src, unlisted packages, and Node in browser code', () => {
    expect(imports('src/core/a.ts', "import { x } from '../../tests/shared';")).toHaveLength(1);
    expect(imports('src/core/a.ts', "import { z } from 'zod';\nimport { n } from '@scope/name/part';")).toEqual([]);
    expect(imports('src/core/a.ts', "import { z } from 'left-pad';")).toHaveLength(1);
    expect(imports('src/core/a.ts', "import { readFile } from 'node:fs';")).toHaveLength(1);
    expect(imports('src/workers/a.ts', "import { FolderStore } from '../storage/folder';")).toHaveLength(1);
    expect(imports('src/cli/a.ts', "import { readFile } from 'node:fs';\nimport { FolderStore } from '../storage/folder';")).toEqual([]);
  });

  it('refuse a folder they do not know', () => {
    expect(imports('src/extras/a.ts', '')).toHaveLength(1);
  });
});

describe('the other rules, tried on made-up sources', () => {
  it('find a network call in code and markup, and not in words', () => {
    expect(networkComplaints([source('src/data/a.ts', "const r = await fetch('x');")])).toHaveLength(1);
    expect(networkComplaints([source('src/data/a.ts', 'navigator.sendBeacon(url);')])).toHaveLength(1);
    expect(networkComplaints([source('src/ui/A.svelte', "<button onclick={() => fetch('x')}>Go</button>")])).toHaveLength(1);
    expect(networkComplaints([source('src/data/a.ts', "// fetch it\nconst s = 'fetch';")])).toEqual([]);
    expect(networkComplaints([source(FETCHER, "await fetch('x');")])).toEqual([]);
  });

  it("find a registry's host and a machine's path", () => {
    expect(foreignComplaints([source('a.md', `see https://${['registry', 'npmjs', 'org'].join('.')}/x`)])).toHaveLength(1);
    expect(foreignComplaints([source('a.md', `cd ${['', 'work', 'main'].join('/')}`)])).toHaveLength(1);
    expect(foreignComplaints([source('a.md', 'the work/life balance, src/home/page')])).toEqual([]);
  });

  it('find a file named after nothing', () => {
    expect(nameComplaints(['src/core/utils.ts', 'src/core/dtype.ts'])).toHaveLength(1);
  });
});

const isCheckout = existsSync(`${root}.git`);

/** Every file that is committed or would be: what git ignores is left out. */
function projectFiles(): string[] {
  const listing = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' });
  return [...new Set(listing.split('\n'))].filter((path) => path !== '' && existsSync(root + path));
}

describe.skipIf(!isCheckout)('the project itself (read from git; skipped where the sources are no git checkout)', () => {
  const paths = isCheckout ? projectFiles() : [];
  const read = (path: string): Source => source(path, readFileSync(root + path, 'utf8'));
  const code = paths.filter((path) => /\.(ts|js|mjs|svelte)$/.test(path)).map(read);
  const isText = ({ text }: Source): boolean => !text.includes('\0');
  const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as Record<'dependencies' | 'devDependencies', Record<string, string>>;

  it('has sources in every layer', () => {
    const folders = new Set(code.filter(({ path }) => path.startsWith('src/')).map(({ path }) => path.split('/')[1]));
    expect([...folders].sort()).toEqual(Object.keys(LAYERS).sort());
  });

  it('imports only downwards, and only packages that package.json lists', () => {
    const listed = new Set([...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)]);
    // Folders with a package.json of their own answer for themselves.
    const apart = paths.filter((path) => path.endsWith('/package.json')).map((path) => path.slice(0, -'package.json'.length));
    const own = code.filter(({ path }) => !apart.some((folder) => path.startsWith(folder)));
    expect(importComplaints(own, listed)).toEqual([]);
  });

  it('ships no package that its sources do not import', () => {
    const imported = code.filter(({ path }) => path.startsWith('src/')).flatMap((file) => specifiers(file).map(packageName));
    expect(Object.keys(manifest.dependencies).filter((name) => !imported.includes(name))).toEqual([]);
  });

  it("asks the network for nothing outside the hub's client", () => {
    expect(networkComplaints(code)).toEqual([]);
  });

  it("names no registry's host and no machine's path in committed text", () => {
    expect(foreignComplaints(paths.map(read).filter(isText))).toEqual([]);
    expect(readFileSync(`${root}package-lock.json`, 'utf8')).not.toContain('"resolved"');
  });

  it('names every file after its subject', () => {
    expect(nameComplaints(paths)).toEqual([]);
  });

  it('pins every package to one version', () => {
    const versions = Object.values({ ...manifest.dependencies, ...manifest.devDependencies });
    expect(versions.filter((version) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([]);
  });
});
