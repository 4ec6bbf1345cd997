import { beforeAll, describe, expect, it } from '@jest/globals';
import { resolveTool } from '../../tools/resolve.ts';
import { HELM_BUILD_MS, isOfTemporalChart, only, pods, PROFILES, render, type Manifest } from './chart.ts';

type Labels = Readonly<Record<string, string>>;
interface Selector {
  matchLabels?: Labels;
  matchExpressions?: { key: string; operator: 'In' | 'NotIn'; values: string[] }[];
}
interface Peer {
  podSelector?: Selector;
  namespaceSelector?: object;
  ipBlock?: object;
}
interface Rule {
  ports?: { port: number; protocol?: string }[];
  from?: Peer[];
  to?: Peer[];
}
interface Policy {
  podSelector: Selector;
  policyTypes: string[];
  ingress?: Rule[];
  egress?: Rule[];
}

beforeAll(() => resolveTool('helm'), HELM_BUILD_MS);

const selects = ({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels) =>
  Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
  matchExpressions.every(({ key, operator, values }) => {
    const among = values.includes(labels[key] ?? '');
    return operator === 'In' ? among : !among;
  });

/** Whether the NetworkPolicies of a release let one pod of its namespace reach another on a port, as a network would. */
function mayReach(objects: readonly Manifest[], from: Labels, to: Labels, port: number): boolean {
  const policies = objects.filter(({ kind }) => kind === 'NetworkPolicy').map(({ spec }) => spec as unknown as Policy);
  const passes = (side: 'Ingress' | 'Egress', self: Labels, other: Labels) => {
    const apply = policies.filter((policy) => policy.policyTypes.includes(side) && selects(policy.podSelector, self));
    const rules = apply.flatMap((policy) => (side === 'Ingress' ? policy.ingress : policy.egress) ?? []);
    return (
      apply.length === 0 ||
      rules.some(({ ports, from: sources, to: targets }) => {
        const peers = side === 'Ingress' ? sources : targets;
        const hasPort = ports === undefined || ports.some((one) => one.port === port);
        const hasPeer =
          peers === undefined ||
          peers.some(({ podSelector }) => podSelector !== undefined && selects(podSelector, other));
        return hasPort && hasPeer;
      })
    );
  };
  return passes('Egress', from, to) && passes('Ingress', to, from);
}

const named = (name: string): Labels => ({ 'app.kubernetes.io/name': name });
const part = (component: string): Labels => ({
  'app.kubernetes.io/name': 'temporal',
  'app.kubernetes.io/instance': 'kairos-operator',
  'app.kubernetes.io/component': component,
});
const CLIENTS = ['kairos-watcher', 'kairos-worker', 'kairos-check', 'kairos-uninstall'].map(named);
const STRANGERS = [{ app: 'shop' }, named('kairos-agent'), named('temporal')];
const ours = (profile: string) => render(PROFILES[profile] ?? {});

describe('the embedded Temporal', () => {
  const [server, web] = [named('kairos-temporal'), named('kairos-temporal-web')];

  it('is reached by the programs of the operator and its UI, the UI by nobody', async () => {
    const objects = await ours('embedded');
    expect(CLIENTS.map((pod) => mayReach(objects, pod, server, 7233))).toEqual([true, true, true, true]);
    expect(mayReach(objects, web, server, 7233)).toBe(true);
    for (const pod of STRANGERS) {
      expect(mayReach(objects, pod, server, 7233)).toBe(false);
      expect(mayReach(objects, pod, web, 8080)).toBe(false);
    }
    expect(CLIENTS.some((pod) => mayReach(objects, pod, web, 8080))).toBe(false);
    expect(mayReach(objects, server, { app: 'shop' }, 443) || mayReach(objects, web, { app: 'shop' }, 443)).toBe(false);
  });

  it('is reached by those that are named', async () => {
    const shop = { podSelector: { matchLabels: { app: 'shop' } } };
    const networkPolicy = { apiPeers: [shop], uiPeers: [shop] };
    const objects = await render({ ...PROFILES['embedded'], embeddedTemporal: { networkPolicy } });
    expect(mayReach(objects, { app: 'shop' }, server, 7233)).toBe(true);
    expect(mayReach(objects, { app: 'shop' }, web, 8080)).toBe(true);
  });

  it('has no UI, nor a way to it, where none is wanted', async () => {
    const objects = await ours('embedded, folder of a node');
    expect(objects.filter(({ metadata }) => metadata.name === 'kairos-temporal-web')).toEqual([]);
    expect(mayReach(objects, web, server, 7233)).toBe(false);
  });

  it('is given a folder of a node by kubelet: a local volume, which belongs to its group, of a path that a mount makes', async () => {
    const objects = await ours('embedded, folder of a node');
    expect(only(objects, 'PersistentVolume', 'kairos-temporal').spec).toMatchObject({
      local: { path: '/var/lib/kairos-temporal' },
      persistentVolumeReclaimPolicy: 'Retain',
      claimRef: { name: 'kairos-temporal', namespace: 'kairos-system' },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['edge-1'] }] },
          ],
        },
      },
    });
    expect(only(objects, 'PersistentVolumeClaim', 'kairos-temporal').spec).toMatchObject({
      storageClassName: '',
      volumeName: 'kairos-temporal',
    });
    const pod = pods(objects).get('kairos-temporal');
    expect(pod?.['securityContext']).toMatchObject({ runAsNonRoot: true, fsGroup: 1000 });
    expect(pod?.['volumes']).toEqual(
      expect.arrayContaining([
        { name: 'data', persistentVolumeClaim: { claimName: 'kairos-temporal' } },
        { name: 'folder', hostPath: { path: '/var/lib/kairos-temporal', type: 'DirectoryOrCreate' } },
      ]),
    );
    expect(pod?.containers[0]?.volumeMounts).toContainEqual({ name: 'folder', mountPath: '/folder', readOnly: true });
  });
});

describe('the chart of Temporal', () => {
  const parts = ['frontend', 'history', 'matching', 'worker', 'database'];

  it('is reached at its frontend by the programs of the operator and its UI, and by nobody elsewhere', async () => {
    const objects = await ours('chart of Temporal, PostgreSQL');
    const database = named('kairos-postgresql');
    for (const pod of CLIENTS) {
      expect(mayReach(objects, pod, part('frontend'), 7233)).toBe(true);
      expect(mayReach(objects, pod, part('frontend'), 9090)).toBe(false);
      expect(mayReach(objects, pod, part('history'), 7234)).toBe(false);
      expect(mayReach(objects, pod, database, 5432)).toBe(false);
    }
    for (const [from, to] of parts.flatMap((from) => parts.map((to) => [from, to] as const)))
      expect({ from, to, may: mayReach(objects, part(from), part(to), 6933) }).toEqual({ from, to, may: true });
    for (const from of parts) expect(mayReach(objects, part(from), database, 5432)).toBe(true);
    expect(mayReach(objects, part('web'), part('frontend'), 7233)).toBe(true);
    expect(mayReach(objects, part('web'), part('history'), 7234)).toBe(false);
    expect(mayReach(objects, part('web'), database, 5432)).toBe(false);
    for (const pod of STRANGERS)
      for (const to of [...parts, 'web'].map(part).concat(database))
        expect([5432, 6933, 7233, 8080, 9090].filter((port) => mayReach(objects, pod, to, port))).toEqual([]);
    expect(mayReach(objects, database, { app: 'shop' }, 443)).toBe(false);
  });

  it('lets its pods reach a database of yours on its ports', async () => {
    const objects = await ours('chart of Temporal, a database of yours');
    const reached = [5432, 6432, 6433].filter((port) => mayReach(objects, part('history'), { app: 'pg' }, port));
    expect(reached).toEqual([6432, 6433]);
    expect(objects.filter(({ metadata }) => metadata.name === 'kairos-postgresql')).toEqual([]);
  });

  it('runs in pods that survive our cordons, are spared by our drains, and ask for nothing', async () => {
    const objects = (await ours('chart of Temporal, PostgreSQL')).filter((object) => isOfTemporalChart(object));
    // Its pod of `helm test` can be told where to run, and not what to be.
    const made = [...pods(objects.filter(({ kind }) => kind !== 'Pod'))];
    expect(made.map(([name]) => name)).toEqual(
      expect.arrayContaining(
        ['frontend', 'history', 'matching', 'worker', 'web'].map((name) => `kairos-temporal-${name}`),
      ),
    );
    for (const object of objects.filter(({ spec }) => spec?.template !== undefined))
      expect(object.spec?.template?.metadata.labels).toMatchObject({ 'kairos.io/part-of': 'kairos-operator' });
    for (const [, pod] of made) {
      expect(pod['serviceAccountName']).toBe('kairos-temporal');
      const text = JSON.stringify(pod['tolerations']);
      expect(text).toContain('node.kubernetes.io/unschedulable');
      expect(text).toContain('node-role.kubernetes.io/control-plane');
      expect(pod['securityContext']).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
      for (const { securityContext } of pod.containers)
        expect(securityContext).toMatchObject({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true });
    }
    expect(only(await ours('chart of Temporal, PostgreSQL'), 'ServiceAccount', 'kairos-temporal')).toMatchObject({
      automountServiceAccountToken: false,
    });
  });

  it('makes the tables by a Job that is no hook: the database is of the same release', async () => {
    const jobs = (await ours('chart of Temporal, PostgreSQL')).filter(
      (object) => object.kind === 'Job' && isOfTemporalChart(object),
    );
    expect(jobs.length).toBeGreaterThan(0);
    for (const { metadata } of jobs) expect(metadata.annotations?.['helm.sh/hook']).toBeUndefined();
  });
});

describe('PostgreSQL', () => {
  it('runs without root, on a read-only file system, with a password from a file, of the account without rights', async () => {
    const objects = await ours('chart of Temporal, PostgreSQL');
    const pod = pods(objects).get('kairos-postgresql');
    expect(pod?.['securityContext']).toMatchObject({ runAsNonRoot: true, runAsUser: 999, fsGroup: 999 });
    const [container] = pod?.containers ?? [];
    expect(container?.['securityContext']).toMatchObject({
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(container?.env).toContainEqual({ name: 'POSTGRES_PASSWORD_FILE', value: '/etc/kairos-postgresql/password' });
    expect(JSON.stringify(pod)).toContain('"secretName":"kairos-postgresql"');
    const secret = only(objects, 'Secret', 'kairos-postgresql') as Manifest & { data: { password: string } };
    expect(secret.metadata.annotations).toEqual({ 'helm.sh/resource-policy': 'keep' });
    expect(Buffer.from(secret.data.password, 'base64').toString()).toMatch(/^[a-zA-Z0-9]{32}$/);
  });

  it('takes a Secret of yours, and makes none then', async () => {
    const objects = await ours('chart of Temporal, PostgreSQL in a folder, Secret and peers of ours');
    expect(objects.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    expect(JSON.stringify(pods(objects).get('kairos-postgresql'))).toContain('"secretName":"our-database"');
  });
});
