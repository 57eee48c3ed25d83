import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: new URL('..', import.meta.url).pathname,
  test: {
    include: ['test/**/*.test.ts'],
    reporters: ['default', './test/count-reporter.ts'],
    // Tests wait with deadlines of their own; this one is for a busy machine.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores: more workers than that make every timing in a test a lie.
    maxWorkers: 2,
    pool: 'forks',
  },
});
