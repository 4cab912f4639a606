import { defineConfig } from 'vitest/config';

/** Longer than any wait in a test, so that what it waited for is told. How soon something happens is never tested so. */
const PATIENT = { testTimeout: 300_000, hookTimeout: 300_000 };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          sequence: { groupOrder: 0 },
          include: ['test/{unit,model}/**/*.test.ts'],
          ...PATIENT,
        },
      },
      {
        test: {
          name: 'integration',
          sequence: { groupOrder: 1 },
          // They mostly wait: for leases, time limits, processes that start.
          maxWorkers: 2,
          include: ['test/{integration,contract,e2e,verifying}/**/*.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
          setupFiles: ['test/support/end-with-runner.ts'],
          ...PATIENT,
        },
      },
      {
        test: {
          name: 'faults',
          sequence: { groupOrder: 2 },
          include: ['test/faults/**/*.test.ts'],
          setupFiles: ['test/support/end-with-runner.ts'],
          testTimeout: 600_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'clients',
          sequence: { groupOrder: 4 },
          include: ['test/clients/**/*.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
          setupFiles: ['test/support/end-with-runner.ts'],
          testTimeout: 900_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'fuzz',
          sequence: { groupOrder: 3 },
          include: ['test/fuzz/**/*.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
          setupFiles: ['test/support/end-with-runner.ts'],
          ...PATIENT,
        },
      },
    ],
  },
});
