import { beforeAll, describe, expect, it, jest } from '@jest/globals';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { resolveTool } from '../../tools/resolve.ts';
import {
  containerOf,
  HELM_BUILD_MS,
  helm,
  manifests,
  NAMESPACE,
  only,
  pods,
  PROFILES,
  render,
  ROOT,
  selected,
  type Manifest,
  type Selector,
} from './chart.ts';

const EMBEDDED = PROFILES['embedded'] ?? {};
const profile = (name: string) => render(PROFILES[name] ?? {});
const isPolicy = ({ kind, metadata }: Manifest) =>
  kind.startsWith('ValidatingAdmissionPolicy') || metadata.name === 'kairos-running-upgrades';

let rendered: Manifest[];

// Helm takes seconds on a busy machine, and some tests run it twice.
jest.setTimeout(30_000);

beforeAll(async () => {
  await resolveTool('helm');
  rendered = await render(EMBEDDED);
}, HELM_BUILD_MS);

describe('the admission policies of the chart', () => {
  const folder = path.join(ROOT, 'deploy', 'policies');
  const plain = readdirSync(folder).flatMap((file) => manifests(readFileSync(path.join(folder, file), 'utf8')));
  const bare = (objects: readonly Manifest[]) =>
    objects
      .map(({ metadata, ...rest }) => ({ ...rest, name: metadata.name, namespace: metadata.namespace }))
      .toSorted((a, b) => `${a.kind} ${a.name}`.localeCompare(`${b.kind} ${b.name}`));

  it('are the plain ones', () => {
    expect(plain.length).toBeGreaterThan(8);
    expect(bare(rendered.filter(isPolicy))).toEqual(bare(plain));
  });

  it('name the namespaces of the release, even where one contains the name of the other', async () => {
    const agent = { ...(EMBEDDED['agent'] as object), namespace: 'kairos-system-agents' };
    const values = { ...EMBEDDED, agent, namespaces: ['fleet'] };
    const objects = (await render(values, '--namespace=kairos-agent')).filter(isPolicy);
    const text = JSON.stringify(objects);
    const accounts = [...text.matchAll(/system:serviceaccount:(kairos-[\w-]+:kairos-\w+)/g)].map(([, one]) => one);
    expect(new Set(accounts)).toEqual(
      new Set([
        'kairos-agent:kairos-worker',
        'kairos-agent:kairos-watcher',
        'kairos-agent:kairos-uninstall',
        'kairos-system-agents:kairos-agent',
      ]),
    );
    expect(text.replaceAll('kairos-system-agents', '')).not.toContain('kairos-system');
    const budgets = objects.filter(({ kind }) => kind === 'PodDisruptionBudget');
    expect(budgets.map(({ metadata }) => metadata.namespace)).toEqual(['kairos-agent', 'fleet']);
  });

  it('are not there where they are not wanted', async () => {
    expect((await profile('embedded, guarded by nothing')).filter(isPolicy)).toEqual([]);
  });
});

describe('a NetworkPolicy', () => {
  const policies = (objects: readonly Manifest[]) => objects.filter(({ kind }) => kind === 'NetworkPolicy');
  const OURS = ['kairos-agent', 'kairos-check', 'kairos-uninstall', 'kairos-watcher', 'kairos-worker'];

  it('selects the pods of each program of ours, and lets nobody in', () => {
    for (const name of OURS) {
      const { metadata, spec } = only(policies(rendered), 'NetworkPolicy', name);
      expect(selected(rendered, spec?.['podSelector'] as Selector, metadata.namespace ?? '')).toEqual([name]);
      expect(spec).toMatchObject({ policyTypes: ['Ingress', 'Egress'], ingress: [] });
    }
  });

  it('lets out to the API server and to Temporal, the agent to the API server only', () => {
    const api = { ports: [{ port: 443 }, { port: 6443 }] };
    for (const name of OURS) {
      const { spec } = only(policies(rendered), 'NetworkPolicy', name);
      const rules = (spec?.['egress'] ?? []) as { ports: object[]; to?: { podSelector: Selector }[] }[];
      const [first, ...others] = rules;
      expect(first).toEqual(api);
      const reached = others.map(({ ports, to = [] }) => [
        ports,
        to.flatMap(({ podSelector }) => selected(rendered, podSelector, NAMESPACE)),
      ]);
      expect(reached).toEqual(name === 'kairos-agent' ? [] : [[[{ port: 7233 }], ['kairos-temporal']]]);
    }
  });

  it('lets out to an external Temporal, and to those who resolve its name', async () => {
    const rules = (objects: Manifest[]) => only(objects, 'NetworkPolicy', 'kairos-worker').spec?.['egress'];
    const dns = { ports: [{ port: 53, protocol: 'UDP' }, { port: 53 }] };
    expect(rules(await profile('external'))).toMatchObject([{}, { ports: [{ port: 7233 }] }, dns]);
    expect(rules(await profile('external, scraped by pods'))).toEqual([
      { ports: [{ port: 443 }, { port: 6443 }] },
      { ports: [{ port: 7233 }], to: [{ ipBlock: { cidr: '10.0.7.7/32' } }] },
    ]);
  });

  it('takes the peers that are named, and lets those who scrape reach watcher and worker only', async () => {
    const objects = await profile('embedded, scraped by Services');
    for (const name of OURS) {
      const { spec } = only(policies(objects), 'NetworkPolicy', name);
      const scraped = ['kairos-watcher', 'kairos-worker'].includes(name);
      expect(spec?.['ingress']).toEqual(
        scraped
          ? [
              {
                ports: [{ port: 8081 }],
                from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }],
              },
            ]
          : [],
      );
      const api = { ports: [{ port: 16443 }], to: [{ ipBlock: { cidr: '10.0.0.0/24' } }] };
      expect(spec?.['egress']).toEqual(name === 'kairos-agent' ? [api] : [api, expect.anything()]);
    }
  });

  it('is there of Temporal alone where none is wanted', async () => {
    const names = policies(await profile('embedded, guarded by nothing')).map(({ metadata }) => metadata.name);
    expect(names).toEqual(['kairos-temporal', 'kairos-temporal-web']);
  });
});

describe('what scrapes metrics', () => {
  const PROGRAMS = ['kairos-watcher', 'kairos-worker'];
  interface Endpoint {
    port: string;
    path: string;
    interval: string;
    scrapeTimeout: string;
  }

  it('finds the health port of watcher and worker through Services', async () => {
    const objects = await profile('embedded, scraped by Services');
    const { metadata, spec } = only(objects, 'ServiceMonitor', 'kairos-operator', NAMESPACE);
    expect(metadata.labels).toMatchObject({ release: 'prometheus' });
    const [endpoint] = (spec?.['endpoints'] ?? []) as Endpoint[];
    expect(endpoint).toEqual({ port: 'health', path: '/metrics', interval: '30s', scrapeTimeout: '10s' });
    const asPods = objects.filter(({ kind }) => kind === 'Service').map((service) => ({ ...service, kind: 'Pod' }));
    expect(selected(asPods, spec?.selector as Selector, NAMESPACE)).toEqual(PROGRAMS);
    for (const name of PROGRAMS) {
      const service = only(objects, 'Service', name, NAMESPACE).spec;
      const labels = service?.selector as Record<string, string>;
      expect(selected(objects, { matchLabels: labels }, NAMESPACE)).toEqual([name]);
      expect(service?.['ports']).toEqual([{ name: endpoint?.port, port: 8081, targetPort: 'health' }]);
      expect(containerOf(objects, name)['ports']).toEqual([{ name: 'health', containerPort: 8081 }]);
    }
  });

  it('finds it without Services', async () => {
    const objects = await profile('external, scraped by pods');
    const { spec } = only(objects, 'PodMonitor', 'kairos-operator', NAMESPACE);
    expect(spec?.['podMetricsEndpoints']).toEqual([
      { port: 'health', path: '/metrics', interval: '1m', scrapeTimeout: '20s' },
    ]);
    expect(selected(objects, spec?.selector as Selector, NAMESPACE)).toEqual(PROGRAMS);
    expect(objects.filter(({ kind }) => kind === 'Service')).toEqual([]);
  });

  it.each(['serviceMonitor', 'podMonitor'])('is refused where the cluster does not know it: %s', async (value) => {
    const values = { ...EMBEDDED, metrics: { [value]: { enabled: true } } };
    const { code, stderr } = await helm(['template', 'kairos-operator'], values, '--kube-version=1.36.3');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      new RegExp(`metrics.${value}.enabled is true, and this cluster does not know .* install the Prometheus Operator`),
    );
  });
});

describe('a disruption budget', () => {
  it.each(['kairos-watcher', 'kairos-worker'])(
    'selects the pods of %s, and holds up no cluster with one node',
    (name) => {
      const { spec } = only(rendered, 'PodDisruptionBudget', name, NAMESPACE);
      expect(selected(rendered, spec?.selector as Selector, NAMESPACE)).toEqual([name]);
      expect(spec).toMatchObject({ maxUnavailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow' });
    },
  );
});

describe('the hooks', () => {
  const hooks = (event: string) => rendered.filter(({ metadata }) => metadata.annotations?.['helm.sh/hook'] === event);

  it('are one pod that checks, and the guard of the uninstall with its rights, which come first and go with it', () => {
    expect(hooks('test').map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual(['Pod kairos-check']);
    const weights = hooks('pre-delete').map(({ kind, metadata }) => {
      expect(metadata.annotations?.['helm.sh/hook-delete-policy']).toBe('before-hook-creation,hook-succeeded');
      return [kind, Number(metadata.annotations?.['helm.sh/hook-weight'])] as const;
    });
    expect(Object.fromEntries(weights)).toEqual({
      ServiceAccount: -10,
      ClusterRole: -10,
      ClusterRoleBinding: -10,
      Role: -10,
      RoleBinding: -10,
      NetworkPolicy: -10,
      Job: 0,
    });
  });

  it.each([
    ['kairos-check', 'check.mjs'],
    ['kairos-uninstall', 'uninstall.mjs'],
  ])('run their program as the watcher runs its own: %s', async (owner, program) => {
    const objects = await profile('external, TLS');
    const watcher = containerOf(objects, 'kairos-watcher');
    const container = containerOf(objects, owner);
    expect(container).toMatchObject({
      image: watcher.image,
      args: [program],
      securityContext: watcher['securityContext'] as object,
      volumeMounts: watcher.volumeMounts as object[],
    });
    const environment = (watcher.env ?? []).filter(({ name }) => name !== 'HEALTH_PORT');
    expect(container.env).toEqual(expect.arrayContaining(environment));
    const [pod, other] = [pods(objects).get(owner), pods(objects).get('kairos-watcher')];
    expect(pod?.['restartPolicy']).toBe('Never');
    for (const field of ['tolerations', 'volumes', 'securityContext', 'priorityClassName'])
      expect(pod?.[field]).toEqual(other?.[field]);
  });

  it('of the uninstall refuse once, and are asked again where the pod was taken along by its node', () => {
    const job = hooks('pre-delete').find(({ kind }) => kind === 'Job');
    expect(job?.spec).toMatchObject({
      podFailurePolicy: {
        rules: [
          { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget' }] },
          { action: 'FailJob', onExitCodes: { operator: 'In', values: [1] } },
        ],
      },
    });
    const { env } = containerOf(rendered, 'kairos-uninstall');
    expect(env).toEqual(
      expect.arrayContaining([
        { name: 'UNINSTALL_TIMEOUT', value: '4m' },
        { name: 'UNINSTALL_HELD_NODES', value: 'refuse' },
      ]),
    );
    expect(containerOf(rendered, 'kairos-check').env).toContainEqual({ name: 'CHECK_TIMEOUT', value: '1m' });
  });

  it('of the uninstall are not there where they are not wanted', async () => {
    const objects = await profile('embedded, guarded by nothing');
    expect(objects.filter(({ metadata }) => metadata.name === 'kairos-uninstall')).toEqual([]);
  });
});
