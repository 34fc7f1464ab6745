import { expect, it } from 'vitest';
import { countPlaywright, countVitest } from '../../scripts/count.mjs';

it("counts Vitest's passed, failed and skipped tests by name", () => {
  const assertionResults = [
    { fullName: 'a', status: 'passed' },
    { fullName: 'b', status: 'failed' },
    { fullName: 'c', status: 'pending' },
    { fullName: 'd', status: 'skipped' },
  ];
  expect(countVitest({ testResults: [{ name: 'x.test.ts', status: 'failed', assertionResults }] })).toEqual({
    passed: 1,
    failures: ['b'],
    skips: ['c', 'd'],
  });
});

it('counts a test file that could not be loaded as one failure', () => {
  const report = { testResults: [{ name: 'x.test.ts', status: 'failed', message: 'no module\nstack', assertionResults: [] }] };
  expect(countVitest(report).failures).toEqual(['x.test.ts: no module']);
});

it('counts Playwright tests in nested suites, and a flaky one as failed', () => {
  const spec = (title: string, status: string) => ({ title, tests: [{ status }] });
  const report = {
    suites: [
      { file: 'a.spec.ts', specs: [spec('one', 'expected')], suites: [{ file: 'a.spec.ts', specs: [spec('two', 'flaky'), spec('three', 'skipped')] }] },
    ],
    errors: [{ message: 'server did not start' }],
  };
  expect(countPlaywright(report)).toEqual({ passed: 1, failures: ['a.spec.ts: two', 'server did not start'], skips: ['a.spec.ts: three'] });
});
