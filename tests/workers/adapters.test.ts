import { unzipSync } from 'fflate';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Adapter } from '../../src/core/adapter';
import { MemorySink, MemorySource } from '../../src/core/bytes';
import { exportGgufAdapter } from '../../src/exports/gguf-adapter';
import { mergeAdapters } from '../../src/exports/merge-adapters';
import { readAdapter } from '../../src/formats/adapter';
import { Studio } from '../../src/workers/studio';
import { randomAdapter } from '../fixtures';
import { Profile } from './profile';
import { ODD, peftFolder, tinyModelFile } from './tiny-model';

const ignore = () => undefined;
const wide = randomAdapter(ODD, { r: 4 });
const narrow = randomAdapter(ODD, { r: 2, seed: 5, target_modules: ['q_proj', 'up_proj'], use_rslora: true });
const dora = randomAdapter(ODD, { r: 3, seed: 8, use_dora: true });

async function ggufFile(adapter: Adapter, name: string): Promise<File> {
  const sink = new MemorySink();
  await exportGgufAdapter({ adapter, config: ODD, name: 'inside' }, sink);
  return new File([sink.bytes() as Uint8Array<ArrayBuffer>], name);
}

describe('adapters of the studio', () => {
  let profile: Profile;
  let studio: Studio;
  let modelId: string;
  beforeEach(async () => {
    profile = new Profile();
    studio = new Studio(profile);
    modelId = (await studio.openModel({ kind: 'files', files: [await tinyModelFile()] }, ignore)).id;
  });

  /** Tensors of an adapter as it comes out of the studio, read without it. */
  async function tensorsOf(id: string): Promise<Adapter> {
    const { blob } = await studio.runExport({ runId: id, kind: 'peft', name: 'out' }, null, ignore);
    const entries = Object.entries(unzipSync(new Uint8Array(await blob!.arrayBuffer())));
    return readAdapter(entries.map(([name, bytes]) => new MemorySource(bytes, name)), ODD);
  }

  it("keeps a PEFT folder's files for the next tab, with what they say of themselves", async () => {
    const kept = await studio.importAdapter(await peftFolder(wide), modelId, 'Pirate');
    expect(kept).toMatchObject({ name: 'Pirate', origin: 'imported', modelId, modelName: 'odd', madeFor: 'someone/odd', lora: { r: 4, use_dora: false } });
    expect(await new Studio(profile).listAdapters()).toEqual([kept]);
    expect((await tensorsOf(kept.id)).tensors).toEqual(wide.tensors);
    const { adapters, models } = await studio.storage();
    expect(adapters).toMatchObject([{ id: kept.id, name: 'Pirate' }]);
    expect(adapters[0]!.bytes).toBeGreaterThanOrEqual(kept.bytes!);
    expect(models.map(({ id }) => id)).toEqual([modelId]);
  });

  it('keeps a GGUF adapter under its file name, in the row order of the others', async () => {
    const kept = await studio.importAdapter([await ggufFile(wide, 'pirate.gguf')], modelId);
    expect(kept).toMatchObject({ name: 'pirate', madeFor: null });
    expect((await tensorsOf(kept.id)).tensors).toEqual(wide.tensors);
  });

  it('keeps the same adapter once, whichever file it came from, and names it anew', async () => {
    const first = await studio.importAdapter(await peftFolder(wide), modelId, 'Pirate');
    const again = await studio.importAdapter(await peftFolder(wide), modelId, 'Captain');
    expect(again.id).toBe(first.id);
    expect((await studio.listAdapters()).map(({ name }) => name)).toEqual(['Captain']);
    await studio.renameAdapter(first.id, ' Bosun ');
    expect((await studio.listAdapters()).map(({ name }) => name)).toEqual(['Bosun']);
  });

  it('names the first tensor of an adapter that was made for another model, and keeps nothing of it', async () => {
    const other = randomAdapter({ ...ODD, intermediate_size: 48 });
    const importing = studio.importAdapter(await peftFolder(other), modelId);
    await expect(importing).rejects.toThrow(/model\.layers\.0\.mlp\.gate_proj\.lora_B\.weight has the shape 48 × 5, and the model asks for 44 × 5; it was made for another model/);
    expect(await studio.listAdapters()).toEqual([]);
    expect((await studio.storage()).adapters).toEqual([]);
  });

  it('says which of the two files is missing', async () => {
    const [weights] = await peftFolder(wide);
    await expect(studio.importAdapter([weights!], modelId)).rejects.toThrow('adapter_config.json is missing');
  });

  it('leaves nothing of an adapter for which there is no room', async () => {
    profile.medium.room = 1000;
    await expect(studio.importAdapter(await peftFolder(wide), modelId)).rejects.toThrow(/needs .* free/i);
    expect((await studio.storage()).adapters).toEqual([]);
  });

  it('merges two with weights into a third, which remembers what it is made of', async () => {
    const a = await studio.importAdapter(await peftFolder(wide), modelId, 'Pirate');
    const b = await studio.importAdapter(await peftFolder(narrow), modelId, 'Poet');
    const merged = await studio.mergeAdapters([{ id: a.id, weight: 0.7 }, { id: b.id, weight: -0.3 }], 'Pirate poet');
    expect(merged).toMatchObject({ name: 'Pirate poet', origin: 'merged', modelId, parts: [{ name: 'Pirate', weight: 0.7 }, { name: 'Poet', weight: -0.3 }], lora: { r: 6, use_rslora: false } });
    const expected = mergeAdapters([{ name: '', adapter: wide, weight: 0.7 }, { name: '', adapter: narrow, weight: -0.3 }]);
    expect((await tensorsOf(merged.id)).tensors).toEqual(expected.tensors);
    expect(await studio.listAdapters()).toHaveLength(3);
  });

  it('refuses to merge a DoRA, in words, and one adapter alone', async () => {
    const a = await studio.importAdapter(await peftFolder(wide), modelId, 'Pirate');
    const b = await studio.importAdapter(await peftFolder(dora), modelId, 'Poet');
    await expect(studio.mergeAdapters([{ id: a.id, weight: 1 }, { id: b.id, weight: 1 }], 'Both')).rejects.toThrow("Poet is a DoRA: it scales the base's rows");
    await expect(studio.mergeAdapters([{ id: a.id, weight: 1 }], 'Alone')).rejects.toThrow('two adapters or more');
    expect(await studio.listAdapters()).toHaveLength(2);
  });

  it('refuses to merge adapters of different models', async () => {
    const a = await studio.importAdapter(await peftFolder(wide), modelId, 'Pirate');
    const second = await studio.openModel({ kind: 'files', files: [await tinyModelFile('twin.gguf')] }, ignore);
    const b = await studio.importAdapter(await peftFolder(narrow), second.id, 'Poet');
    await expect(studio.mergeAdapters([{ id: a.id, weight: 1 }, { id: b.id, weight: 1 }], 'Both')).rejects.toThrow(/Poet belongs to .*, and the model here is odd/);
  });

  it('gives an adapter out as a GGUF that reads back, checked, and a DoRA only as PEFT or merged', async () => {
    const a = await studio.importAdapter(await peftFolder(narrow), modelId, 'The poet');
    const { fileName, blob, certificate } = await studio.runExport({ runId: a.id, kind: 'gguf-adapter', name: a.name }, null, ignore);
    expect(fileName).toBe('The-poet-lora.gguf');
    expect(certificate).toMatchObject({ kind: 'gguf-adapter', dataset: null, recipe_sha256: null, base: { name: 'odd' } });
    const back = await readAdapter([new MemorySource(new Uint8Array(await blob!.arrayBuffer()), fileName)], ODD);
    expect([...back.tensors.keys()].sort()).toEqual([...narrow.tensors.keys()].sort());
    const b = await studio.importAdapter(await peftFolder(dora), modelId, 'Heavy');
    await expect(studio.planExport({ runId: b.id, kind: 'gguf-adapter', name: b.name })).rejects.toThrow('Heavy is a DoRA');
    expect((await tensorsOf(b.id)).magnitudes).toEqual(dora.magnitudes);
    expect((await studio.planExport({ runId: b.id, kind: 'gguf', name: b.name })).fileName).toBe('Heavy-F16.gguf');
  });

  it('forgets a deleted adapter, and says so to whoever still asks for it', async () => {
    const { id } = await studio.importAdapter(await peftFolder(wide), modelId);
    await studio.deleteAdapter(id);
    expect(await studio.listAdapters()).toEqual([]);
    await expect(studio.planExport({ runId: id, kind: 'peft', name: 'out' })).rejects.toThrow('not kept in this browser any more');
    await expect(studio.mergeAdapters([{ id: 'run:nowhere', weight: 1 }, { id, weight: 1 }], 'x')).rejects.toThrow('not kept in this browser any more');
  });
});
