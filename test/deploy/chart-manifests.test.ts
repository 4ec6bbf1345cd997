import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it, jest } from '@jest/globals';
import { parse } from 'yaml';
import { resolveTool } from '../../tools/resolve.ts';
import { CRD_FOLDER, renderCrds } from '../../tools/generate-crds.ts';
import {
  CHART,
  containerOf,
  HELM_BUILD_MS,
  manifests,
  NAMESPACE,
  only,
  PROFILES,
  render,
  ROOT,
  type Manifest,
} from './chart.ts';

const EMBEDDED = PROFILES['embedded'] ?? {};
const manifestsOf = (file: string) => manifests(readFileSync(path.join(ROOT, file), 'utf8'));

/** What the chart decides for itself: labels, what Helm is told, and the names of namespaces in another release. */
function bare({ metadata, ...rest }: Manifest, namespace = NAMESPACE): object {
  const { labels: _, annotations: _helm, ...others } = metadata;
  const object = { metadata: others, ...rest };
  return JSON.parse(JSON.stringify(object).replaceAll(`"${namespace}"`, `"${NAMESPACE}"`)) as object;
}

const nameOf = ({ kind, metadata }: Manifest) => `${kind} ${metadata.name}`;

let rendered: Manifest[];

// Helm takes seconds on a busy machine, and some tests run it twice.
jest.setTimeout(30_000);

beforeAll(async () => {
  await resolveTool('helm');
  rendered = await render({ ...EMBEDDED, namespaces: ['fleet'] });
}, HELM_BUILD_MS);

describe('the chart gives the rights of the plain manifests, no more and no less:', () => {
  const operator = ['watcher', 'worker', 'uninstall', 'check'].map((name) => `deploy/operator/${name}-rbac.yaml`);
  const files = [...operator, 'deploy/agent/rbac.yaml'];
  const cases = files.flatMap((file) =>
    manifestsOf(file).map((wanted) => [wanted.kind, wanted.metadata.name, wanted] as const),
  );

  it.each(cases)('%s %s', (kind, name, wanted) => {
    expect(bare(only(rendered, kind, name, wanted.metadata.namespace))).toEqual(bare(wanted));
  });

  it('and to nobody else, nowhere else', () => {
    const kinds = new Set(['ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding']);
    const named = (objects: readonly Manifest[]) =>
      objects
        .filter(({ kind, metadata }) => kinds.has(kind) && metadata.namespace !== 'fleet')
        .map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`)
        .toSorted();
    expect(named(rendered)).toEqual(named(files.flatMap(manifestsOf)));
  });

  it.each(['watcher', 'worker', 'uninstall'])(
    'the %s has its Role in every listed namespace, without the Lease',
    (name) => {
      const own = only(rendered, 'Role', `kairos-${name}`, NAMESPACE);
      const there = only(rendered, 'Role', `kairos-${name}`, 'fleet');
      const withoutLeases = own.rules?.filter((rule) => !JSON.stringify(rule).includes('"leases"'));
      expect(there.rules).toEqual(withoutLeases);
      expect(there.rules?.length).toBe((own.rules?.length ?? 0) - (name === 'worker' ? 0 : 1));
      const binding = only(rendered, 'RoleBinding', `kairos-${name}`, 'fleet');
      expect(binding.subjects).toEqual([{ kind: 'ServiceAccount', name: `kairos-${name}`, namespace: NAMESPACE }]);
    },
  );
});

describe('the Leases on nodes', () => {
  const files = ['namespace', 'rbac'].flatMap((name) => manifestsOf(`deploy/node-leases/${name}.yaml`));

  it('are shared with the rights of the plain manifests, and in a namespace that no uninstall deletes', async () => {
    const shared = await render({ ...EMBEDDED, nodeLeases: { enabled: true } });
    const there = ({ metadata, kind }: Manifest) =>
      metadata.namespace === 'medik8s-leases' || (kind === 'Namespace' && metadata.name === 'medik8s-leases');
    const sorted = (objects: readonly Manifest[]) =>
      objects.toSorted((a, b) => nameOf(a).localeCompare(nameOf(b))).map((object) => bare(object));
    expect(sorted(shared.filter(there))).toEqual(sorted(files));
    const namespace = only(shared, 'Namespace', 'medik8s-leases');
    expect(namespace.metadata.annotations).toEqual({ 'helm.sh/resource-policy': 'keep' });
    const { env = [] } = containerOf(shared, 'kairos-worker');
    expect(env).toContainEqual({ name: 'KAIROS_NODE_LEASE_NAMESPACE', value: 'medik8s-leases' });
  });

  it('are not looked at where their namespace is not known to be there, or where they are turned off', async () => {
    for (const objects of [rendered, await render({ ...EMBEDDED, nodeLeases: { enabled: false } })])
      expect(JSON.stringify(objects)).not.toMatch(/medik8s|NODE_LEASE/);
  });

  it('may be elsewhere', async () => {
    const elsewhere = await render({ ...EMBEDDED, nodeLeases: { enabled: true, namespace: 'rhwa-leases' } });
    expect(only(elsewhere, 'RoleBinding', 'kairos-worker', 'rhwa-leases').subjects).toMatchObject([
      { name: 'kairos-worker', namespace: NAMESPACE },
    ]);
    expect(JSON.stringify(elsewhere)).not.toContain('medik8s');
  });
});

it(
  'the worker may delete pods everywhere only where a value says so, and then as the plain manifest gives it',
  async () => {
    const given = await render({ ...EMBEDDED, worker: { mayDeletePods: true } });
    for (const wanted of manifestsOf('deploy/options/worker-may-delete-pods.yaml')) {
      const { kind, metadata } = wanted;
      expect(bare(only(given, kind, metadata.name, metadata.namespace))).toEqual(bare(wanted));
      expect(rendered.filter((object) => object.metadata.name === metadata.name)).toEqual([]);
    }
  },
  HELM_BUILD_MS,
);

it(
  'a list of further namespaces that is taken away is an empty one',
  async () => {
    const rolesIn = (objects: readonly Manifest[]) =>
      objects.filter(({ kind }) => kind === 'Role').map(({ metadata }) => metadata.namespace);
    expect(new Set(rolesIn(rendered))).toContain('fleet');
    const without = await render({ ...EMBEDDED, namespaces: null });
    expect(new Set(rolesIn(without))).toEqual(new Set([NAMESPACE]));
  },
  HELM_BUILD_MS,
);

describe("the chart's agent", () => {
  it('is that of the plain manifest, but for its image', () => {
    const [plain, ...others] = manifestsOf('deploy/agent/daemonset.yaml').map((object) => bare(object));
    const [chart] = [only(rendered, 'DaemonSet', 'kairos-agent')].map((object) => bare(object));
    expect(others).toEqual([]);
    const withoutImage = (object: object | undefined) =>
      JSON.parse(
        JSON.stringify(object, (key, value) => (/^image(PullPolicy)?$/.test(key) ? undefined : value)),
      ) as object;
    expect(withoutImage(chart)).toEqual(withoutImage(plain));
  });

  it('has a namespace of its own, labelled for its mounts, unless it is there', async () => {
    const labels = only(rendered, 'Namespace', 'kairos-agent').metadata.labels;
    const [plain] = manifestsOf('deploy/agent/namespace.yaml');
    expect(labels).toMatchObject(plain?.metadata.labels ?? { plain: 'missing' });
    const agent = { ...(EMBEDDED['agent'] as object), namespace: 'edge-agents', createNamespace: false };
    const without = await render({ ...EMBEDDED, agent });
    expect(without.filter(({ kind }) => kind === 'Namespace')).toEqual([]);
    expect(only(without, 'DaemonSet', 'kairos-agent').metadata.namespace).toBe('edge-agents');
    expect(only(without, 'ClusterRoleBinding', 'kairos-agent').subjects).toMatchObject([{ namespace: 'edge-agents' }]);
  });

  it('asks for a token of the audience that is set', async () => {
    const agent = { ...(EMBEDDED['agent'] as object), tokenAudience: 'https://kairos' };
    const daemonSet = only(await render({ ...EMBEDDED, agent }), 'DaemonSet', 'kairos-agent');
    expect(JSON.stringify(daemonSet)).toContain(
      '"serviceAccountToken":{"path":"token","expirationSeconds":600,"audience":"https://kairos"}',
    );
    expect(JSON.stringify(rendered)).not.toContain('"audience"');
  });
});

describe('the resource definitions of the chart', () => {
  it.each([...renderCrds()])('%s is the generated one', (file, content) => {
    const copied = readFileSync(path.join(CHART, 'files', 'crds', file), 'utf8');
    if (copied !== content)
      throw new Error(`cp ${path.relative(ROOT, CRD_FOLDER)}/*.yaml deploy/charts/kairos-operator/files/crds/`);
    const wanted = parse(content) as Manifest;
    const { metadata, spec } = only(rendered, 'CustomResourceDefinition', wanted.metadata.name);
    expect(spec).toEqual(wanted.spec);
    expect(metadata.annotations).toEqual({ 'helm.sh/resource-policy': 'keep' });
  });

  it('are those two, and none where they are installed otherwise', async () => {
    const of = (objects: Manifest[]) => objects.filter(({ kind }) => kind === 'CustomResourceDefinition').length;
    expect(of(rendered)).toBe(renderCrds().size);
    expect(of(await render({ ...EMBEDDED, crds: { install: false } }))).toBe(0);
  });
});
