import { beforeEach, describe, expect, it } from 'vitest';
import type { ExportRequest } from '../../src/workers/api';
import { Studio } from '../../src/workers/studio';
import { newRun } from '../../src/storage/runs';
import { randomAdapter } from '../fixtures';
import { Profile } from './profile';
import { ODD, peftFolder, tinyModelFile } from './tiny-model';

const ignore = () => undefined;

describe('certificates in the browser', () => {
  let profile: Profile;
  let studio: Studio;
  let modelId: string;
  let id: string;
  const exported = (kind: ExportRequest['kind'], name = 'out', of = id) => studio.runExport({ runId: of, kind, name }, null, ignore);

  beforeEach(async () => {
    profile = new Profile();
    studio = new Studio(profile);
    modelId = (await studio.openModel({ kind: 'files', files: [await tinyModelFile()] }, ignore)).id;
    id = (await studio.importAdapter(await peftFolder(randomAdapter(ODD, { r: 2 })), modelId, 'Pirate')).id;
  });

  it('are kept with every export, as they were handed out, for the next tab', async () => {
    expect(await studio.listCertificates()).toEqual([]);
    const first = await exported('peft');
    const second = await exported('gguf');
    expect(second.isCertificateKept).toBe(true);
    expect(await new Studio(profile).listCertificates()).toEqual([
      { subject: id, fileName: second.fileName, certificate: second.certificate },
      { subject: id, fileName: first.fileName, certificate: first.certificate },
    ]);
    // Beside the adapter, not in it: it still reads as PEFT's two files, and no model or adapter seems half kept.
    expect((await studio.planExport({ runId: id, kind: 'peft', name: 'out' })).bytes).toBeGreaterThan(0);
    const { models, adapters, datasets } = await studio.storage();
    expect([models.length, adapters.length, datasets.length]).toEqual([1, 1, 0]);
  });

  it('are one for the same bytes, the newest', async () => {
    await exported('gguf-adapter');
    const again = await exported('gguf-adapter');
    expect((await studio.listCertificates()).map(({ certificate }) => certificate.made)).toEqual([again.certificate.made]);
  });

  it('go with what they are of', async () => {
    const other = await studio.importAdapter(await peftFolder(randomAdapter(ODD, { r: 3 })), modelId, 'Poet');
    await exported('peft');
    await exported('peft', 'poet', other.id);
    await studio.deleteAdapter(id);
    expect((await studio.listCertificates()).map(({ subject }) => subject)).toEqual([other.id]);
    await studio.deleteEverything();
    expect(await studio.listCertificates()).toEqual([]);
    expect(await profile.files.list()).toEqual([]);
  });

  it('of a run go with the run', async () => {
    const about = { name: 'x', recipe: { model: modelId, dataset: { path: 'd' } }, modelId, modelName: 'odd', datasetId: 'd', datasetName: 'd', totalSteps: 1 };
    for (const run of ['one', 'two']) await profile.runs.put({ ...newRun({ ...about, id: run }), status: 'done' });
    const { certificate } = await exported('peft');
    for (const run of ['one', 'two']) {
      const file = new Blob([JSON.stringify({ subject: run, fileName: 'x.gguf', certificate })]);
      const sink = await profile.files.write(`certificate:${run}`, 'x.json', { total: file.size });
      await sink.write(new Uint8Array(await file.arrayBuffer()));
      await sink.close();
    }
    await studio.deleteRun('one');
    expect((await studio.listCertificates()).map(({ subject }) => subject).sort()).toEqual([id, 'two']);
  });

  it('that there is no room for leave the export as it is', async () => {
    const { write } = profile.files;
    profile.files.write = (group, name, options) => (group.startsWith('certificate:') ? Promise.reject(new Error('full')) : write.call(profile.files, group, name, options));
    const { blob, isCertificateKept, certificate } = await exported('gguf-adapter');
    expect([blob!.size, isCertificateKept]).toEqual([certificate.files[0]!.bytes, false]);
    expect(await studio.listCertificates()).toEqual([]);
  });
});
