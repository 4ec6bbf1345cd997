import { describe, expect, it } from '@jest/globals';
import { type Import, filesOf, importsIn, importsOf } from './imports.ts';

interface Rule {
  /** What the room may import besides its own files, as beginnings of paths. */
  may: string[];
  /** What it may import with `import type` only. */
  mayType?: string[];
  /** Packages; those of Node are named `node:`. */
  packages: string[];
  /** Packages of which it may import types only. */
  typePackages?: string[];
}

const TYPES = [
  'api/types.ts',
  'api/messages.ts',
  'api/node-ref.ts',
  'api/control-messages.ts',
  'api/plan-messages.ts',
  'api/rollout-spec.ts',
  'api/names.ts',
];
const LOG = ['pino'];

const RULES: Record<string, Rule> = {
  // Of the windows, which no workflow asks.
  policy: { may: TYPES, packages: ['croner'] },
  workflows: {
    may: [...TYPES, 'policy/'],
    mayType: ['activities/'],
    packages: ['@temporalio/workflow', '@temporalio/common'],
  },
  kube: { may: ['api/'], packages: ['node:', '@kubernetes/client-node', 'yaml'] },
  activities: {
    may: ['api/', 'policy/', 'kube/'],
    packages: ['node:', '@temporalio/activity', '@temporalio/common', ...LOG],
  },
  process: {
    may: ['api/', 'kube/'],
    packages: ['node:', '@temporalio/', '@marcbachmann/cel-js', 'prom-client', 'yaml', 'zod', ...LOG],
  },
  worker: {
    may: ['api/', 'kube/', 'process/', 'activities/', 'workflows/'],
    packages: ['node:', '@temporalio/', 'prom-client', ...LOG],
  },
  watcher: {
    may: ['api/', 'policy/', 'kube/', 'process/'],
    packages: ['node:', '@temporalio/', 'prom-client', ...LOG],
  },
  // Looks after nodes as the watcher does, and starts nothing.
  uninstall: {
    may: ['api/', 'policy/', 'kube/', 'process/', 'watcher/closings.ts', 'watcher/engine.ts', 'watcher/leftovers.ts'],
    mayType: ['watcher/context.ts'],
    packages: ['node:', '@temporalio/', 'zod', ...LOG],
  },
  check: { may: ['api/', 'kube/', 'process/', 'policy/'], packages: ['node:', '@temporalio/', ...LOG] },
  cli: { may: ['api/', 'policy/', 'kube/'], packages: ['node:', '@temporalio/', 'yaml', ...LOG] },
  agent: { may: ['policy/release.ts', 'policy/boot-state.ts'], mayType: ['api/types.ts'], packages: ['node:'] },
};

const begins = (target: string, beginnings: readonly string[] = []) =>
  beginnings.some((start) => target.startsWith(start));
const isPackage = (target: string) => !/^[a-z]+\/.*\.(ts|mjs|js|json)$/.test(target);

/** What of these imports a room must not have, one line each. */
function offences(room: string, rule: Rule, imports: readonly Import[]): string[] {
  return imports
    .filter(({ target, typeOnly }) => {
      if (target.startsWith(`${room}/`)) return false;
      if (isPackage(target)) return !begins(target, rule.packages) && !(typeOnly && begins(target, rule.typePackages));
      return !begins(target, rule.may) && !(typeOnly && begins(target, rule.mayType));
    })
    .map(({ file, target, typeOnly }) => `${file} imports ${typeOnly ? 'types of ' : ''}${target}`);
}

describe('a room imports only what lies below it:', () => {
  it.each(Object.keys(RULES).filter((room) => room !== 'agent'))('%s', (room) => {
    const rule = RULES[room];
    expect(rule && offences(room, rule, importsOf(room))).toEqual([]);
  });

  it('the agent, of which only the program that bundles it knows esbuild', () => {
    const rule = RULES['agent'];
    const imports = importsOf('agent').filter(
      ({ file, target }) => !(file === 'agent/build.ts' && target === 'esbuild'),
    );
    expect(rule && offences('agent', rule, imports)).toEqual([]);
  });

  it('api, whose types and messages take nothing but types from its schemas', () => {
    const apart = importsOf('api').filter(({ file }) => !file.startsWith('api/schemas/'));
    expect(apart.map(({ file }) => file)).toContain('api/types.ts');
    const rule: Rule = { may: TYPES, mayType: ['api/schemas/'], packages: [], typePackages: ['zod'] };
    expect(offences('', rule, apart)).toEqual([]);
    const schemas = importsOf('api').filter(({ file }) => file.startsWith('api/schemas/'));
    expect(offences('api', { may: [], packages: ['zod'] }, schemas)).toEqual([]);
  });

  it('the client of Kubernetes, which only kube knows', () => {
    const users = ['api', ...Object.keys(RULES), 'sim', 'test', 'tools', 'bench']
      .flatMap(importsOf)
      .filter(({ file, target }) => target.startsWith('@kubernetes/') && !file.startsWith('kube/'));
    expect(users).toEqual([]);
  });

  it('no room that is shipped imports the simulator, tests, tools or benchmarks', () => {
    const inward = ['api', ...Object.keys(RULES)].flatMap(importsOf);
    expect(inward.filter(({ target }) => /^(sim|test|tools|bench|docs|deploy)\//.test(target))).toEqual([]);
  });
});

describe('what is looked at', () => {
  it.each(['api', ...Object.keys(RULES).filter((room) => room !== 'cli')])('is every file of %s', (room) => {
    expect(filesOf(room).length).toBeGreaterThan(1);
    expect(importsOf(room).length).toBeGreaterThan(0);
  });

  it.each<[string, string, Import[]]>([
    ['a plain import', `import { a } from './b.ts';`, [{ file: 'kube/x.ts', target: 'kube/b.ts', typeOnly: false }]],
    ['a default import', `import a from 'a';`, [{ file: 'kube/x.ts', target: 'a', typeOnly: false }]],
    [
      'types',
      `import type { A } from '../api/types.ts';`,
      [{ file: 'kube/x.ts', target: 'api/types.ts', typeOnly: true }],
    ],
    [
      'types within a plain import, which stays at run time',
      `import { type A } from '../api/types.ts';`,
      [{ file: 'kube/x.ts', target: 'api/types.ts', typeOnly: false }],
    ],
    [
      'several lines',
      `import {\n  a, // from './not'\n  type B,\n} from "../sim/c.ts";`,
      [{ file: 'kube/x.ts', target: 'sim/c.ts', typeOnly: false }],
    ],
    ['a namespace', `import * as fs from 'node:fs';`, [{ file: 'kube/x.ts', target: 'node:fs', typeOnly: false }]],
    [
      'an export of everything',
      `export * from '../sim/a.ts';`,
      [{ file: 'kube/x.ts', target: 'sim/a.ts', typeOnly: false }],
    ],
    [
      'an export of types',
      `export type { A } from './a.ts';`,
      [{ file: 'kube/x.ts', target: 'kube/a.ts', typeOnly: true }],
    ],
    ['an import for its effect', `import '../sim/a.ts';`, [{ file: 'kube/x.ts', target: 'sim/a.ts', typeOnly: false }]],
    [
      'a late import',
      `const a = await import('../sim/a.ts');`,
      [{ file: 'kube/x.ts', target: 'sim/a.ts', typeOnly: false }],
    ],
    ['no comment', `// import a from 'a';\n/* import b from 'b'; */`, []],
  ])('finds %s', (_, text, expected) => {
    expect(importsIn('kube/x.ts', text)).toEqual(expected);
  });

  it.each([
    ['policy', `import { readFileSync } from 'node:fs';`],
    ['policy', `import { z } from '../api/schemas/kairos-node.ts';`],
    ['workflows', `import { createActivities } from '../activities/index.ts';`],
    ['workflows', `import { type Activities } from '../activities/index.ts';`],
    ['kube', `import { judge } from '../policy/verdict.ts';`],
    ['activities', `import { rollout } from '../workflows/index.ts';`],
    ['activities', `import type { Cluster } from '../sim/cluster.ts';`],
    ['watcher', `import { createActivities } from '../activities/index.ts';`],
    ['agent', `import { STEP_LABEL } from '../api/names.ts';`],
    ['agent', `import { judge } from '../policy/verdict.ts';`],
    ['agent', `import { connectToCluster } from '../kube/client.ts';`],
  ])('in %s would not let pass: %s', (room, text) => {
    const rule = RULES[room];
    expect(rule && offences(room, rule, importsIn(`${room}/x.ts`, text))).toHaveLength(1);
  });
});
