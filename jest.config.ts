import type { Config } from 'jest';

const shared = {
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2024' }, module: { type: 'es6' } }] },
  extensionsToTreatAsEsm: ['.ts'],
  testEnvironment: 'node',
  modulePathIgnorePatterns: ['<rootDir>/build', '<rootDir>/dist'],
} satisfies Config;

export default {
  maxWorkers: 2,
  // A machine that builds something at the same time takes its while.
  testTimeout: 40_000,
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['<rootDir>/test/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '\\.(server|real|matrix)\\.test\\.ts$'],
    },
    { ...shared, displayName: 'server', testMatch: ['<rootDir>/test/**/*.server.test.ts'] },
    { ...shared, displayName: 'matrix', testMatch: ['<rootDir>/test/**/*.matrix.test.ts'] },
    { ...shared, displayName: 'real', testMatch: ['<rootDir>/test/**/*.real.test.ts'] },
  ],
} satisfies Config;
