import { expect, it } from 'vitest';
import { answersInWords } from '../../src/exports/certify';

const found = (top1: number, mean_kl: number) => ({ max_logit: 1, mean_kl, top1, places: 64 });
const report = (top1: number, mean_kl: number) => ({
  prompts: [],
  file: found(top1, mean_kl),
  merge: found(1, 0),
  rounding: found(top1, mean_kl),
  limit: 1,
  reason: '',
});

it('says what a file answers, from the same through a little to differently', () => {
  expect(answersInWords(report(1, 1e-5), 'F16', null)).toBe('The file gives the same answers as the model you trained.');
  expect(answersInWords(report(0.96, 0.01), 'Q8_0', null)).toContain('gives the answers of the model you trained, but for what Q8_0 rounds away');
  expect(answersInWords(report(0.85, 0.1), 'Q4_K_M', null)).toMatch(/but for what Q4_K_M rounds away.*85 % of 64 places.*A larger type loses less\.$/);
  expect(answersInWords(report(0.5, 0.7), 'Q4_K_M', null)).toMatch(/^The file answers differently from the model you trained.*50 % of 64 places.*Choose a larger type\.$/);
});
