import { defineConfig } from 'vitest/config';

/** Tests that run kernels. Every other folder is `unit`, so that no test file can fall between the projects. */
const gpuTests = ['tests/{ops,engine,parity,autograd,runtime,models}/**/*.test.ts'];
const interopTests = ['tests/interop/**/*.test.ts'];
const neverTests = ['**/node_modules/**', 'tests/e2e/**'];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['tests/**/*.test.ts'],
          exclude: [...gpuTests, ...interopTests, ...neverTests],
          pool: 'forks',
          // Generous everywhere: nothing is timed here, and a busy machine must not fail a test.
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'gpu',
          include: gpuTests,
          exclude: neverTests,
          // One process at a time: two software devices on the same cores only slow each other down.
          pool: 'forks',
          fileParallelism: false,
          maxWorkers: 1,
          setupFiles: ['tests/gpu.setup.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'interop',
          include: interopTests,
          exclude: neverTests,
          pool: 'forks',
          fileParallelism: false,
          maxWorkers: 1,
          setupFiles: ['tests/gpu.setup.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
