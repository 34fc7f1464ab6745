import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemorySink } from '../../src/core/bytes';
import { exportMergedGguf } from '../../src/exports/gguf-model';
import { Connection } from '../../src/storage/hub';
import { Studio } from '../../src/workers/studio';
import { randomModel } from '../fixtures';
import { TestHub } from '../hub/server';
import { Profile } from './profile';
import { ODD, tinyModelFile } from './tiny-model';

const ignore = () => undefined;

describe('models of the studio', () => {
  let profile: Profile;
  let studio: Studio;
  beforeEach(() => {
    profile = new Profile();
    studio = new Studio(profile);
  });

  it('keeps a model that was opened from files, for the next tab as well', async () => {
    const labels = new Set<string>();
    const model = await studio.openModel({ kind: 'files', files: [await tinyModelFile()] }, ({ label }) => labels.add(label));
    expect(model).toMatchObject({ name: 'odd', format: 'gguf', architecture: 'llama', layers: 2, hiddenSize: 30, contextLength: 192, stored: true });
    expect(model.types).toEqual({ F32: 20 });
    expect(labels).toContain('Keeping odd.gguf');
    const nextTab = new Studio(profile);
    expect(await nextTab.listModels()).toEqual([model]);
    expect(await nextTab.openModel({ kind: 'stored', id: model.id }, ignore)).toEqual(model);
  });

  it('gives the same content the same id, and other content another', async () => {
    const first = await studio.openModel({ kind: 'files', files: [await tinyModelFile()] }, ignore);
    const again = await studio.openModel({ kind: 'files', files: [await tinyModelFile()] }, ignore);
    expect(again.id).toBe(first.id);
    const sink = new MemorySink();
    await exportMergedGguf({ model: randomModel(ODD, 8), name: 'other', type: 'F32' }, sink);
    const other = await studio.openModel({ kind: 'files', files: [new File([sink.bytes() as Uint8Array<ArrayBuffer>], 'odd.gguf')] }, ignore);
    expect(other.id).not.toBe(first.id);
    expect(other.hasTokenizer).toBe(true);
  });

  it('uses a model for this session alone where there is no room to keep it', async () => {
    profile.medium.room = 1000;
    const model = await studio.openModel({ kind: 'files', files: [await tinyModelFile()] }, ignore);
    expect(model.stored).toBe(false);
    expect(await studio.listModels()).toEqual([model]);
    expect(await studio.openModel({ kind: 'stored', id: model.id }, ignore)).toEqual(model);
    const nextTab = new Studio(profile);
    expect(await nextTab.listModels()).toEqual([]);
    await expect(nextTab.openModel({ kind: 'stored', id: model.id }, ignore)).rejects.toThrow(/not kept in this browser; open its files again/);
  });

  it('keeps nothing of files that are no model', async () => {
    const files = [new File(['hello'], 'notes.gguf')];
    await expect(studio.openModel({ kind: 'files', files }, ignore)).rejects.toThrow(/notes\.gguf/);
    expect((await studio.storage()).models).toEqual([]);
  });

  it('keeps what arrived of a copy that is cancelled, and goes on with it', async () => {
    const file = await tinyModelFile();
    const opening = studio.openModel({ kind: 'files', files: [file] }, ({ label }) => {
      if (label.startsWith('Keeping')) void studio.cancelOpen();
    });
    await expect(opening).rejects.toThrow(/was stopped/);
    expect(await studio.listModels()).toEqual([]);
    expect((await studio.openModel({ kind: 'files', files: [file] }, ignore)).stored).toBe(true);
  });

  it('forgets a deleted model', async () => {
    const { id } = await studio.openModel({ kind: 'files', files: [await tinyModelFile()] }, ignore);
    await studio.deleteModel(id);
    expect(await studio.listModels()).toEqual([]);
    expect((await studio.storage()).models).toEqual([]);
    await expect(studio.openModel({ kind: 'stored', id }, ignore)).rejects.toThrow('not kept in this browser');
  });

  it('says what is missing where the demo is not served', async () => {
    await expect(studio.openModel({ kind: 'demo' }, ignore)).rejects.toThrow('config.json is missing from this page');
  });

  describe('from the hub', () => {
    let hub: TestHub;
    beforeEach(async () => {
      hub = await TestHub.start('org/odd');
      profile.hub = new Connection({ hosts: [hub.hubHost, hub.cdnHost], retries: 2, retryDelay: 1 });
      profile.hubEndpoint = hub.endpoint;
      studio = new Studio(profile);
      hub.addLfs('odd-f32.gguf', new Uint8Array(await (await tinyModelFile()).arrayBuffer()));
      hub.files.set('README.md', new TextEncoder().encode('# odd'));
    });
    afterEach(() => hub.stop());

    it('lists the files that can be opened, downloads one, and keeps it', async () => {
      expect((await studio.hubFiles('org/odd')).map(({ path }) => path)).toEqual(['odd-f32.gguf']);
      const model = await studio.openModel({ kind: 'hub', id: 'org/odd', file: 'odd-f32.gguf' }, ignore);
      expect(model).toMatchObject({ name: 'odd', stored: true, architecture: 'llama' });
      const requests = await studio.requests();
      expect(requests.map(({ reason }) => reason)).toContainEqual(expect.stringContaining('odd-f32.gguf'));
      expect(requests.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(model.bytes);
      await hub.stop();
      expect(await new Studio(profile).openModel({ kind: 'stored', id: model.id }, ignore)).toEqual(model);
    });

    it('says so where a repository has nothing to open', async () => {
      hub.files.delete('odd-f32.gguf');
      await expect(studio.hubFiles('org/odd')).rejects.toThrow(/org\/odd has no GGUF and no safetensors file/);
    });
  });
});
