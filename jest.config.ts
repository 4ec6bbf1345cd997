import type { Config } from 'jest';

const transform = { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2024' }, module: { type: 'es6' } }] } as const;

const shared = {
  transform: { '^.+\\.ts$': [...transform['^.+\\.ts$']] },
  extensionsToTreatAsEsm: ['.ts'],
  testEnvironment: 'node',
} satisfies Config;

export default {
  maxWorkers: 2,
  projects: [
    { ...shared, displayName: 'unit', testMatch: ['<rootDir>/test/{api,policy,agent,kube,workflows,activities,watcher,sim,tools}/**/*.test.ts'] },
  ],
} satisfies Config;
