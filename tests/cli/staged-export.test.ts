import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unzipSync } from 'fflate';
import { afterAll, describe, expect, it } from 'vitest';
import type { Certificate } from '../../src/core/certificate';
import { StagedExport, certificatePath } from '../../src/cli/staged-export';
import { sha256 } from '../../src/core/sha256';
import { scratch } from './command';

const { folder, clear } = scratch();
afterAll(clear);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Writes files and says what a certificate would. */
async function staged(out: string, oneFile: boolean, contents: Record<string, string>): Promise<{ export: StagedExport; certificate: Certificate }> {
  const one = await StagedExport.start(out, oneFile, Object.keys(contents));
  for (const [name, text] of Object.entries(contents)) {
    const sink = await one.create(name);
    await sink.write(bytes(text));
    await sink.close();
    const source = await one.open(name);
    expect(new TextDecoder().decode(await source.read(0, source.size))).toBe(text);
  }
  const files = Object.entries(contents).map(([name, text]) => ({ name, bytes: text.length, sha256: sha256(bytes(text)) }));
  return { export: one, certificate: { words: 'fine', files } as unknown as Certificate };
}
const at = (name: string): string => join(folder, name);

describe('an export on disk', () => {
  it('has its name only once it is published, with the certificate beside it', async () => {
    const { export: one, certificate } = await staged(at('a.gguf'), true, { 'a.gguf': 'whole' });
    expect(existsSync(at('a.gguf'))).toBe(false);
    await one.publish(certificate);
    expect(readFileSync(at('a.gguf'), 'utf8')).toBe('whole');
    expect(JSON.parse(readFileSync(at('a.certificate.json'), 'utf8'))).toMatchObject({ words: 'fine', archive: null });
    expect(certificatePath(at('folder'))).toBe(at('folder.certificate.json'));
  });

  it('leaves nothing where it is discarded, and what was there before untouched', async () => {
    writeFileSync(at('b.gguf'), 'older');
    const { export: one } = await staged(at('b.gguf'), true, { 'b.gguf': 'newer' });
    await one.discard();
    expect(readFileSync(at('b.gguf'), 'utf8')).toBe('older');
    expect(readdirSync(folder).filter((name) => name.startsWith('b.'))).toEqual(['b.gguf']);
  });

  it('clears away what a killed export left', async () => {
    await staged(at('c'), false, { 'config.json': '{}', 'old/shard': 'x' });
    const { export: one, certificate } = await staged(at('c'), false, { 'config.json': '{"a":1}' });
    await one.publish(certificate);
    expect(readdirSync(at('c'))).toEqual(['config.json']);
    expect(readdirSync(folder).filter((name) => name.startsWith('c.'))).toEqual(['c.certificate.json']);
  });

  it('may be several files packed into a zip, whose hash the certificate has', async () => {
    const { export: one, certificate } = await staged(at('d.zip'), false, { 'x/one': '1', two: '22' });
    await one.publish(certificate);
    const zip = new Uint8Array(readFileSync(at('d.zip')));
    expect(Object.keys(unzipSync(zip))).toEqual(['x/one', 'two']);
    expect(JSON.parse(readFileSync(at('d.certificate.json'), 'utf8'))).toMatchObject({ archive: { name: 'd.zip', bytes: zip.length, sha256: sha256(zip) } });
  });

  it('refuses a folder with other files, a file for a folder, and a folder for a file', async () => {
    mkdirSync(at('full'));
    writeFileSync(at('full/model.safetensors.index.json'), '{}');
    writeFileSync(at('file'), '');
    await expect(StagedExport.start(at('full'), false, ['config.json'])).rejects.toThrow('holds other files (model.safetensors.index.json)');
    await expect(StagedExport.start(at('full'), true, ['x.gguf'])).rejects.toThrow('is a folder, and this export is one file');
    await expect(StagedExport.start(at('file'), false, ['config.json'])).rejects.toThrow('is a file, and this export is a folder');
    // Models of LM Studio lie beside each other.
    await StagedExport.start(at('full'), false, ['hone/x/x.gguf']);
  });
});
