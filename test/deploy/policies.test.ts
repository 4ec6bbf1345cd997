import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { STEP_LABEL, MANAGED_LABEL, NODE_NAME_ANNOTATION, OWNER_ANNOTATION } from '../../api/names.ts';
import { kairosNodeAgentStatus } from '../../api/schemas/kairos-node.ts';
import { documentText } from '../docs/documents.ts';
import { ROOT } from '../rooms/imports.ts';

const textOf = (file: string) => readFileSync(join(ROOT, 'deploy', file), 'utf8');

interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string };
  spec: { variables?: { name: string; expression: string }[] };
}
const manifests = (file: string) => parseAllDocuments(textOf(file)).map((document) => document.toJS() as Manifest);

describe('the policies and the rest of the project name the same', () => {
  it.each(['agent.yaml', 'kairos-nodes.yaml'])('in %s: fields that an agent writes', (file) => {
    const [policy] = manifests(`policies/${file}`);
    const { expression } = policy?.spec.variables?.find(({ name }) => name === 'agentFields') ?? {};
    const fields = [...(expression ?? '').matchAll(/'(\w+)'/g)].map(([, field]) => field);
    expect(new Set(fields)).toEqual(new Set(Object.keys(kairosNodeAgentStatus.shape)));
  });

  it.each([
    ['agent/rbac.yaml', 'agent.yaml'],
    ['operator/worker-rbac.yaml', 'nodes.yaml'],
    ['operator/watcher-rbac.yaml', 'nodes.yaml'],
    ['operator/uninstall-rbac.yaml', 'nodes.yaml'],
    ['operator/worker-rbac.yaml', 'kairos-nodes.yaml'],
    ['operator/watcher-rbac.yaml', 'kairos-nodes.yaml'],
    ['operator/worker-rbac.yaml', 'worker-pods.yaml'],
    ['operator/worker-rbac.yaml', 'upgrade-pods.yaml'],
    ['operator/worker-rbac.yaml', 'running-upgrades.yaml'],
  ])('service account: %s and %s', (rbac, policy) => {
    const account = manifests(rbac).find(({ kind }) => kind === 'ServiceAccount');
    expect(textOf(`policies/${policy}`)).toContain(
      `'system:serviceaccount:${account?.metadata.namespace}:${account?.metadata.name}'`,
    );
  });

  it.each([
    ['upgrade-pods.yaml', STEP_LABEL],
    ['worker-pods.yaml', STEP_LABEL],
    ['running-upgrades.yaml', STEP_LABEL],
    ['running-upgrades.yaml', NODE_NAME_ANNOTATION],
    ['nodes.yaml', `annotation ${OWNER_ANNOTATION}`],
    ['nodes.yaml', `label ${MANAGED_LABEL}`],
  ])('in %s: %s', (file, name) => {
    expect(textOf(`policies/${file}`)).toContain(name);
  });
});

describe('SECURITY.md', () => {
  const lists = documentText('SECURITY.md').matchAll(/`(?<file>[\w./-]+\.test\.ts)`: (?<names>"[^"]+"(?:, "[^"]+")*)/g);
  const cited = [...lists].flatMap(({ groups: { file = '', names = '' } = {} }) =>
    [...names.matchAll(/"([^"]+)"/g)].map(([, name = '']) => [file, name] as const),
  );

  it('cites tests', () => {
    expect(cited.length).toBeGreaterThan(20);
  });

  it.each(cited)('cites a test that is there: %s, %s', (file, name) => {
    expect(existsSync(join(ROOT, file))).toBe(true);
    expect(readFileSync(join(ROOT, file), 'utf8')).toContain(name);
  });
});
