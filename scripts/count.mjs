/** Reads the reports of the test runners. */

/**
 * Counts of a stage: how many passed, and the names of those that failed or were skipped.
 * @param {number} passed
 * @param {string[]} failures
 * @param {string[]} skips
 */
export const counts = (passed, failures, skips) => ({ passed, failures, skips });

/** Counts Vitest's JSON report. */
export function countVitest(report) {
  const tests = report.testResults.flatMap((file) => file.assertionResults.map((test) => ({ ...test, name: test.fullName })));
  const named = (...states) => tests.filter((test) => states.includes(test.status)).map((test) => test.name);
  // A file that could not be loaded holds no tests, and is one failure.
  const broken = report.testResults.filter((file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'));
  const failures = [...named('failed'), ...broken.map((file) => `${file.name}: ${file.message?.split('\n')[0] ?? 'could not be run'}`)];
  return counts(named('passed').length, failures, named('pending', 'skipped', 'todo', 'disabled'));
}

/** Counts Playwright's JSON report; a test that passed only when tried again has failed. */
export function countPlaywright(report) {
  const specs = [];
  const walk = (suite) => {
    for (const spec of suite.specs ?? []) for (const test of spec.tests) specs.push({ name: `${suite.file}: ${spec.title}`, status: test.status });
    for (const child of suite.suites ?? []) walk(child);
  };
  for (const suite of report.suites) walk(suite);
  const named = (...states) => specs.filter((spec) => states.includes(spec.status)).map((spec) => spec.name);
  return counts(named('expected').length, [...named('unexpected', 'flaky'), ...report.errors.map((error) => error.message ?? 'e2e')], named('skipped'));
}
