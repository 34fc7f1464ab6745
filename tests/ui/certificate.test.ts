import { describe, expect, it } from 'vitest';
import { certificateName, certifiedWords, comparisonLines, exportStage, exportWords, limitWords, placesWords, roundedWords, weightsWords } from '../../src/ui/certificate';
import type { AnswerDifference } from '../../src/workers/api';

const difference = (mean_kl: number, top1: number, max_logit: number): AnswerDifference => ({ mean_kl, top1, max_logit, places: 64 });
const answers = { prompts: [{ text: 'Hi', ids: [1] }], file: difference(0.0214, 0.953, 1.5), merge: null, rounding: null, limit: 0.1, reason: '' };

describe('a certificate on the page', () => {
  it('lies beside its file under the same name', () => {
    expect(['a-Q8_0.gguf', 'a-peft.zip'].map(certificateName)).toEqual(['a-Q8_0.certificate.json', 'a-peft.certificate.json']);
  });

  it('is named by what was exported and when, the newest of several first', () => {
    const adapter = { kind: 'gguf-adapter', type: null, made: '2026-03-03T12:00:00.000Z' };
    const model = { kind: 'gguf', type: 'Q8_0', made: '2026-03-02T12:00:00.000Z' };
    expect(exportWords(adapter)).toBe('GGUF adapter, 3 Mar 2026');
    expect(exportWords({ ...model, kind: 'of tomorrow' })).toBe('of tomorrow, Q8_0, 2 Mar 2026');
    expect(certifiedWords([])).toBe('');
    expect(certifiedWords([{ certificate: model }])).toBe('Certified: GGUF model, Q8_0, 2 Mar 2026');
    expect(certifiedWords([adapter, model].map((certificate) => ({ certificate })))).toBe('Certified: GGUF adapter, 3 Mar 2026 and 1 other');
  });

  it('shows what merging and storing cost apart from the whole', () => {
    const merged = { ...answers, merge: difference(2e-7, 1, 0.00012), rounding: difference(0.021, 0.95, 1.4) };
    expect(comparisonLines({ answers: merged, type: 'Q4_K_M' })).toEqual([
      { what: 'The file against the trained model', same: '95%', kl: '0.021', logit: '1.50' },
      { what: 'Of this, merging the adapter', same: '100%', kl: '2.0e-7', logit: '1.2e-4' },
      { what: 'Of this, storing it as Q4_K_M', same: '95%', kl: '0.021', logit: '1.40' },
    ]);
  });

  it('has one line for an adapter, and none where answers were not compared', () => {
    expect(comparisonLines({ answers, type: null })).toHaveLength(1);
    expect(comparisonLines({ answers: null, type: 'F16' })).toEqual([]);
    expect(placesWords(answers)).toBe('1 fixed question, compared at 64 places.');
  });

  it('says how the weights were found, and up to where it passes', () => {
    const rounded = { type: 'Q5_0', tensors: 19, error: 0.0625, limit: 0.0627, worst: 'model.layers.1.mlp.gate_proj.weight' };
    expect(weightsWords({ tensors: 42, exact: 42, rounded: [] })).toBe('42 tensors read again, all bit for bit as meant.');
    expect(weightsWords({ tensors: 29, exact: 0, rounded: [rounded] })).toBe('29 tensors read again, each as close as its type allows.');
    expect(weightsWords({ tensors: 29, exact: 8, rounded: [rounded] })).toMatch(/8 bit for bit as meant, the others as close/);
    expect(roundedWords(rounded)).toMatch(/^19 as Q5_0: off by 6\.3% .*gate_proj.*; Q5_0 explains 6\.3%$/);
    expect(roundedWords({ ...rounded, error: 0 })).toBe('19 as Q5_0: none off');
    expect(limitWords({ answers: { ...answers, reason: 'an adapter' }, type: null })).toBe('It may be up to 0.1: an adapter.');
    expect(limitWords({ answers: { ...answers, rounding: answers.file, reason: '4-bit weights' }, type: 'Q4_0' })).toBe('Storing it as Q4_0 may cost up to 0.1: 4-bit weights.');
  });

  it('says that what follows the writing is a check', () => {
    const label = (text: string) => exportStage({ label: text, done: 0, total: 1, unit: 'bytes' }).label;
    expect(label('Writing')).toBe('Writing');
    expect(label('Reading it again')).toBe('Checking the file: reading it again');
    expect(label('Comparing weights')).toBe('Checking the file: comparing weights');
  });
});
