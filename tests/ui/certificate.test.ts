import { describe, expect, it } from 'vitest';
import { certificateName, comparisonLines, exportStage, placesWords } from '../../src/ui/certificate';
import type { AnswerDifference } from '../../src/workers/api';

const difference = (mean_kl: number, top1: number, max_logit: number): AnswerDifference => ({ mean_kl, top1, max_logit, places: 64 });
const answers = { prompts: [{ text: 'Hi', ids: [1] }], file: difference(0.0214, 0.953, 1.5), merge: null, rounding: null, limit: 0.1, reason: '' };

describe('a certificate on the page', () => {
  it('lies beside its file under the same name', () => {
    expect(['a-Q8_0.gguf', 'a-peft.zip'].map(certificateName)).toEqual(['a-Q8_0.certificate.json', 'a-peft.certificate.json']);
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

  it('says that what follows the writing is a check', () => {
    const label = (text: string) => exportStage({ label: text, done: 0, total: 1, unit: 'bytes' }).label;
    expect(label('Writing')).toBe('Writing');
    expect(label('Reading it again')).toBe('Checking the file: reading it again');
    expect(label('Comparing weights')).toBe('Checking the file: comparing weights');
  });
});
