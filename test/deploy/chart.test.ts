import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it, jest } from '@jest/globals';
import { resolveTool } from '../../tools/resolve.ts';
import { CHART, DIGEST, isOfTemporalChart, helm, HELM_BUILD_MS, pods, PROFILES, render, ROOT } from './chart.ts';

const CLUSTER_SCOPED = new Set([
  'Namespace',
  'PersistentVolume',
  'ClusterRole',
  'ClusterRoleBinding',
  'CustomResourceDefinition',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
]);
const named = Object.entries(PROFILES);
const AIR_GAP = PROFILES['embedded, air gap'] ?? {};
const EMBEDDED = PROFILES['embedded'] ?? {};

// Helm takes seconds on a busy machine, and some tests run it twice.
jest.setTimeout(30_000);

beforeAll(() => resolveTool('helm'), HELM_BUILD_MS);

describe('the chart', () => {
  it.each(named)('passes helm lint --strict: %s', async (_, values) => {
    const { code, stdout, stderr } = await helm(['lint', '--strict'], values);
    expect({ code, text: `${stdout}${stderr}` }).toEqual({
      code: 0,
      text: expect.stringContaining('1 chart(s) linted, 0 chart(s) failed') as unknown,
    });
  });

  it('passes helm lint --strict with nothing but its own values', async () => {
    expect(await helm(['lint', '--strict'], {})).toMatchObject({ code: 0 });
  });

  it.each(named)('names every object once, with its namespace and as part of the operator: %s', async (_, values) => {
    // Those of Temporal's own chart are as that makes them.
    const objects = (await render(values)).filter((object) => !isOfTemporalChart(object));
    expect(objects.length).toBeGreaterThan(15);
    const ids = objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`);
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
    for (const { kind, metadata, spec } of objects) {
      expect({ kind, namespaced: metadata.namespace !== undefined }).toEqual({
        kind,
        namespaced: !CLUSTER_SCOPED.has(kind),
      });
      const labels = [metadata.labels, ...(spec?.template === undefined ? [] : [spec.template.metadata.labels])];
      // A drain spares pods with this label.
      for (const each of labels) expect(each).toMatchObject({ 'app.kubernetes.io/part-of': 'kairos-operator' });
    }
  });

  it('has the version of the package', () => {
    const chart = readFileSync(path.join(CHART, 'Chart.yaml'), 'utf8');
    const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(chart).toContain(`\nappVersion: ${version}\n`);
  });
});

describe('every image', () => {
  it('comes by digest from the registry of the air gap, with its own and the common secrets', async () => {
    const found = Object.fromEntries(
      [...pods(await render(AIR_GAP))].map(([owner, { containers, imagePullSecrets = [] }]) => [
        owner,
        [containers.map(({ image }) => image), imagePullSecrets.map(({ name }) => name)],
      ]),
    );
    const at = (repository: string) => [`mirror.example.com:5000/${repository}@${DIGEST}`];
    expect(found).toEqual({
      'kairos-agent': [at('kairos/agent'), ['mirror']],
      'kairos-check': [at('kairos/operator'), ['mirror', 'own']],
      'kairos-temporal': [at('temporalio/temporal'), ['mirror', 'temporal']],
      'kairos-temporal-web': [at('temporalio/ui'), ['mirror', 'ui']],
      'kairos-uninstall': [at('kairos/operator'), ['mirror', 'own']],
      'kairos-watcher': [at('kairos/operator'), ['mirror', 'own']],
      'kairos-worker': [at('kairos/operator'), ['mirror', 'own']],
    });
  });

  it.each([
    ['neither registry nor tag', { repository: 'operator' }, 'operator:0.1.0'],
    ['a registry', { registry: 'quay.io', repository: 'kairos/operator', tag: 'v2' }, 'quay.io/kairos/operator:v2'],
    ['a digest beside a tag', { repository: 'operator', tag: 'v2', digest: DIGEST }, `operator@${DIGEST}`],
  ])('is named from its parts: %s', async (_, image, reference) => {
    const objects = await render({ ...EMBEDDED, image });
    expect(pods(objects).get('kairos-worker')?.containers[0]?.image).toBe(reference);
  });
});

describe('a wrong value is refused, and the message says what to write:', () => {
  const cases: [values: object, message: RegExp][] = [
    [
      { externalTemporal: { address: 'temporal:7233' } },
      /'\/externalTemporal\/address': value must be '\(empty while embeddedTemporal\.enabled is true: set that to false/,
    ],
    [
      { embeddedTemporal: { enabled: false } },
      /'\/externalTemporal\/address': value must be '\(host:port, as neither .* is true: exactly one of the three is needed\)/,
    ],
    [
      { externalTemporal: { tls: { enabled: true } } },
      /tls\/enabled': value must be '\(false while externalTemporal\.address is empty/,
    ],
    [{ externalTemporal: { namespace: 'kairos' } }, /'\/externalTemporal\/namespace': value must be 'default'/],
    [{ externalTemporal: { apiKey: { secret: 'key' } } }, /tls\.enabled is false: the key would be sent in the clear/],
    [{ externalTemporal: { tls: { caSecret: 'ca' } } }, /caSecret': value must be '\(empty while .* is false\)/],
    [
      { externalTemporal: { tls: { clientSecret: 'ca' } } },
      /clientSecret': value must be '\(empty while .* is false\)/,
    ],
    [{ externalTemporal: { tls: { serverName: 'ca' } } }, /serverName': value must be '\(empty while .* is false\)/],
    [
      { embeddedTemporal: { enabled: false }, externalTemporal: { address: 'http://temporal' } },
      /\(host:port, without http:\/\/\)/,
    ],
    [{ image: { repository: '' } }, /: image\.repository is not set: .* build yours, push it .* set image\.repository/],
    [
      { agent: { image: { repository: '' } } },
      /: agent\.image\.repository is not set: .* set agent\.image\.repository/,
    ],
    [{ worker: { image: { repository: 'worker' } } }, /'\/worker': additional properties 'image' not allowed/],
    [
      { worker: { prometheus: [{ url: 'prometheus:9090' }] } },
      /'\/worker\/prometheus\/0\/url': .*\n?.*an address such as https:\/\/prometheus/,
    ],
    [{ worker: { prometheus: [{ url: 'https://p', bearerToken: 'token' }] } }, /properties 'secret' required/],
    [{ worker: { prometheus: [{ url: 'https://p', secret: 's' }] } }, /left out where none of its keys is named: ca/],
    [
      { worker: { prometheus: [{ url: 'https://p', secret: 's', bearerToken: 't', username: 'u', password: 'p' }] } },
      /username': value must be '\(left out while bearerToken is set/,
    ],
    [{ watcher: { command: ['/watcher'] } }, /'\/watcher': additional properties 'command' not allowed/],
    [{ image: { repository: 'operator:v1' } }, /name of an image without tag and digest/],
    [{ image: { tag: 'sha256:0' } }, /a digest has a value of its own/],
    [{ image: { digest: 'sha256:0' } }, /sha256: and 64 hex digits/],
    [{ image: { pullPolicy: 'Sometimes' } }, /one of 'Always', 'IfNotPresent', 'Nev/],
    [{ nodeSelector: { gpu: true } }, /'\/nodeSelector\/gpu': got boolean, want string/],
    [{ imageRegistry: 'https://mirror' }, /host and port of a registry, without https:\/\//],
    [{ imagePullSecrets: [{ name: 'mirror' }] }, /'\/imagePullSecrets\/0': got object, want string/],
    [{ namespaces: ['Fleet'] }, /'\/namespaces\/0'.*\n?.*\n?.*the name of a namespace: lower-case/],
    [{ namespaces: ['fleet', 'fleet'] }, /items at 0 and 1 are equal/],
    [{ agent: { namespace: 'kairos-system' } }, /the agent needs a namespace other than kairos-system/],
    [{ clusterName: 'Edge 7' }, /lower-case letters, digits, - and \., at most 63/],
    [{ logLevel: 'loud' }, /'\/logLevel': value must be one of 'trace', 'debug'/],
    [{ watcher: { replicas: 0 } }, /'\/watcher\/replicas': minimum: got 0, want 1/],
    [{ worker: { resources: { limits: { memory: 'lots' } } } }, /a quantity such as 250m, 512Mi or 4Gi/],
    [{ embeddedTemporal: { retention: '3h' } }, /days such as 30d, or hours from 24h/],
    [{ embeddedTemporal: { ipFamily: 'both' } }, /one of 'IPv4', 'IPv6'/],
    [{ embeddedTemporal: { goMemLimit: '220Mi' } }, /a limit as Go writes it, such as 220MiB/],
    [
      { embeddedTemporal: { networkPolicy: { uiPeers: [{}] } } },
      /'\/embeddedTemporal\/networkPolicy\/uiPeers\/0': minP/,
    ],
    [{ embeddedTemporal: { retencion: '30d' } }, /'\/embeddedTemporal': additional properties 'retencion' not allowed/],
    [
      { temporal: { enabled: true } },
      /'\/temporal\/enabled': value must be '\(false while embeddedTemporal\.enabled is tru/,
    ],
    [
      {
        embeddedTemporal: { enabled: false },
        temporal: { enabled: true },
        externalTemporal: { address: 'temporal:7233' },
      },
      /'\/externalTemporal\/address': value must be '\(empty while temporal\.enabled is true: set that to false/,
    ],
    [
      { embeddedTemporal: { enabled: false }, temporal: { enabled: true } },
      /default\/sql\/connectAddr': value must be '\(host:port of your PostgreSQL, as postgresql\.enabled is false/,
    ],
    [
      { embeddedTemporal: { enabled: false }, temporal: { enabled: true } },
      /visibility\/sql\/existingSecret': value must be '\(the name of your Secret with the password/,
    ],
    [
      { postgresql: { enabled: true } },
      /'\/postgresql\/enabled': value must be '\(false while temporal\.enabled is false/,
    ],
    [
      ofOwnDatabase({ existingSecret: 'mine' }),
      /datastores\.default\.sql\.existingSecret is kairos-postgresql, but .* mine/,
    ],
    [
      ofOwnDatabase({}, { connectAddr: 'pg:5432' }),
      /default\/sql\/connectAddr': value must be 'kairos-postgresql:5432'/,
    ],
    [{ temporal: { fullnameOverride: 'temporal' } }, /fullnameOverride': value must be 'kairos-temporal'/],
    [{ temporal: { nameOverride: 'other' } }, /nameOverride': value must be '\(empty: the NetworkPolicies/],
    [{ temporal: { networkPolicy: { peers: [] } } }, /'\/temporal\/networkPolicy': additional properties 'peers'/],
    [
      { embeddedTemporal: { persistence: { hostPath: 'data' } } },
      /hostPath': value must be '\(empty, or the absolute path/,
    ],
    [{ embeddedTemporal: { persistence: { hostPath: '/data' } } }, /nodeName': value must be '\(the node of hostPath/],
    [
      { embeddedTemporal: { persistence: { nodeName: 'edge-1' } } },
      /nodeName': value must be '\(empty while hostPath is/,
    ],
    [
      { embeddedTemporal: { persistence: { hostPath: '/data', nodeName: 'edge-1', storageClass: 'local' } } },
      /storageClass': value must be '\(empty while hostPath is set: one of the two/,
    ],
    [
      { embeddedTemporal: { persistence: { hostPath: '/data', nodeName: 'edge-1', enabled: false } } },
      /persistence\/enabled': value must be '\(true while hostPath is set/,
    ],
    [{ networkPolicy: { apiServerPorts: [] } }, /'\/networkPolicy\/apiServerPorts': minItems: got 0, want 1/],
    [{ networkPolicy: { apiServerPorts: [70000] } }, /apiServerPorts\/0': maximum: got 70,000, want 65,535/],
    [{ networkPolicy: { monitoringPeers: [{ podSelecter: {} }] } }, /additional properties 'podSelecter' not allowed/],
    [
      { metrics: { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } } },
      /false while metrics\.serviceMonitor\.enabled is true: all would be scraped twice/,
    ],
    [{ metrics: { podMonitor: { interval: 'often' } } }, /a duration such as 30s or 1m/],
    [{ uninstallGuard: { timeout: '4 minutes' } }, /a duration such as 90s, 4m or 1h30m/],
    [{ uninstallGuard: { heldNodes: 'free' } }, /one of 'refuse', 'give-back'/],
    [{ policies: { install: 1 } }, /'\/policies\/install': got number, want boolean/],
    [{ priorityClassName: 'High' }, /empty, or the name of an object: lower-case/],
  ];
  it.each(cases.map(([values, message]) => [JSON.stringify(values), values, message] as const))(
    '%s',
    async (_, values, message) => {
      await expect(render(merged(EMBEDDED, values))).rejects.toThrow(message);
    },
  );

  it.each([
    ['numbers as quantities', { worker: { resources: { requests: { cpu: 1 } } } }],
    ['an address of IPv6', { embeddedTemporal: { enabled: false }, externalTemporal: { address: '[fd00::7]:7233' } }],
    ['a retention in hours', { embeddedTemporal: { retention: '24h' } }],
  ])('but not %s', async (_, values) => {
    expect((await render(merged(EMBEDDED, values))).length).toBeGreaterThan(15);
  });
});

/** With PostgreSQL of the chart, and other values of it and of how Temporal reaches it. */
function ofOwnDatabase(postgresql: object, sql: object = {}): object {
  const datastores = { default: { sql } };
  return {
    embeddedTemporal: { enabled: false },
    temporal: { enabled: true, server: { config: { persistence: { datastores } } } },
    postgresql: { enabled: true, ...postgresql },
  };
}

/** As Helm merges values files. */
function merged(base: object, over: object): Record<string, unknown> {
  const isMap = (value: unknown): value is object =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    result[key] = isMap(before) && isMap(value) ? merged(before, value) : value;
  }
  return result;
}
