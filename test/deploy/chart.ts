import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments, stringify } from 'yaml';
import { resolveTool } from '../../tools/resolve.ts';
import { addTemporalChart } from './temporal-chart.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const CHART = path.join(ROOT, 'deploy', 'charts', 'kairos-operator');
export const NAMESPACE = 'kairos-system';
/** Where Helm has to be built first, that takes a minute. */
export const HELM_BUILD_MS = 300_000;

export interface Container {
  name: string;
  image: string;
  command?: string[];
  args?: string[];
  env?: { name: string; value?: string; valueFrom?: { fieldRef?: { fieldPath: string }; secretKeyRef?: object } }[];
  volumeMounts?: { name: string; mountPath: string }[];
  [field: string]: unknown;
}

export interface PodSpec {
  containers: Container[];
  imagePullSecrets?: { name: string }[];
  [field: string]: unknown;
}

export interface Selector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values: string[] }[];
}

/** An object as a manifest holds it. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  rules?: object[];
  subjects?: object[];
  spec?: {
    template?: { metadata: { labels: Record<string, string> }; spec: PodSpec };
    selector?: Selector | Record<string, string>;
    [field: string]: unknown;
  };
}

type Values = Record<string, unknown>;

export const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
const image = (name: string): Values => ({ image: { repository: `registry.example.com/${name}` } });
const IMAGES: Values = { ...image('operator'), agent: image('agent') };

/** Every way of running that the chart knows, each with the values that it takes beside the defaults. */
export const PROFILES: Readonly<Record<string, Values>> = {
  embedded: IMAGES,
  'embedded, IPv6, without a volume': {
    ...IMAGES,
    embeddedTemporal: {
      ipFamily: 'IPv6',
      persistence: { enabled: false },
      networkPolicy: {
        apiPeers: [{ podSelector: { matchLabels: { app: 'backup' } } }],
        uiPeers: [{ ipBlock: { cidr: 'fd00::/8' } }],
      },
    },
  },
  'embedded, air gap': {
    imageRegistry: 'mirror.example.com:5000',
    imagePullSecrets: ['mirror'],
    image: { repository: 'kairos/operator', digest: DIGEST, pullSecrets: ['own'] },
    agent: { image: { repository: 'kairos/agent', digest: DIGEST }, tokenAudience: 'kairos' },
    embeddedTemporal: {
      image: { digest: DIGEST, pullSecrets: ['temporal'] },
      ui: { image: { digest: DIGEST, pullSecrets: ['ui'] } },
      persistence: { storageClass: 'local-path', size: '10Gi' },
    },
    namespaces: ['fleet', NAMESPACE],
    nodeSelector: { 'kubernetes.io/arch': 'arm64' },
    tolerations: [{ key: 'edge', operator: 'Exists', effect: 'NoSchedule' }],
    clusterName: 'edge-7.berlin',
    logLevel: 'debug',
    crds: { install: false },
  },
  'embedded, folder of a node': {
    ...IMAGES,
    embeddedTemporal: {
      ui: { enabled: false },
      persistence: { hostPath: '/var/lib/kairos-temporal', nodeName: 'edge-1' },
    },
  },
  'chart of Temporal, PostgreSQL': {
    ...IMAGES,
    embeddedTemporal: { enabled: false },
    temporal: { enabled: true },
    postgresql: { enabled: true },
  },
  'chart of Temporal, PostgreSQL in a folder, Secret and peers of ours': {
    ...IMAGES,
    embeddedTemporal: { enabled: false },
    temporal: {
      enabled: true,
      server: {
        config: {
          persistence: {
            datastores: {
              default: { sql: { existingSecret: 'our-database' } },
              visibility: { sql: { existingSecret: 'our-database' } },
            },
          },
          namespaces: { namespace: [{ name: 'edge', retention: '14d' }] },
        },
      },
      networkPolicy: {
        apiPeers: [{ podSelector: { matchLabels: { app: 'backup' } } }],
        uiPeers: [{ ipBlock: { cidr: '10.0.0.0/8' } }],
        metricsPeers: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }],
      },
    },
    postgresql: {
      enabled: true,
      image: { digest: DIGEST, pullSecrets: ['mirror'] },
      existingSecret: 'our-database',
      persistence: { hostPath: '/var/lib/kairos-postgresql', nodeName: 'edge-1' },
    },
  },
  'chart of Temporal, a database of yours': {
    ...IMAGES,
    embeddedTemporal: { enabled: false },
    temporal: {
      enabled: true,
      server: {
        config: {
          persistence: {
            datastores: {
              default: { sql: { connectAddr: 'pg.example.com:6432', user: 'kairos', existingSecret: 'our-database' } },
              visibility: {
                sql: { connectAddr: 'pg.example.com:6433', user: 'kairos', existingSecret: 'our-database' },
              },
            },
          },
        },
      },
    },
  },
  'embedded, guarded by nothing': {
    ...IMAGES,
    priorityClassName: '',
    policies: { install: false },
    networkPolicy: { enabled: false },
    uninstallGuard: { enabled: false },
  },
  'embedded, scraped by Services': {
    ...IMAGES,
    metrics: { serviceMonitor: { enabled: true, labels: { release: 'prometheus' } } },
    networkPolicy: {
      monitoringPeers: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }],
      apiServerPeers: [{ ipBlock: { cidr: '10.0.0.0/24' } }],
      apiServerPorts: [16443],
    },
  },
  'external, scraped by pods': {
    ...IMAGES,
    embeddedTemporal: { enabled: false },
    externalTemporal: { address: '10.0.7.7' },
    metrics: { podMonitor: { enabled: true, interval: '1m', scrapeTimeout: '20s' } },
    networkPolicy: { temporalPeers: [{ ipBlock: { cidr: '10.0.7.7/32' } }] },
  },
  external: {
    ...IMAGES,
    embeddedTemporal: { enabled: false },
    externalTemporal: { address: 'temporal.example.com:7233', namespace: 'kairos' },
  },
  'external, TLS': {
    ...IMAGES,
    embeddedTemporal: { enabled: false },
    externalTemporal: {
      address: 'temporal.example.com:7233',
      tls: { enabled: true, serverName: 'temporal', caSecret: 'temporal-ca', clientSecret: 'temporal-client' },
    },
  },
  'external, API key': {
    ...IMAGES,
    embeddedTemporal: { enabled: false },
    externalTemporal: {
      address: 'kairos.a1b2c.tmprl.cloud:7233',
      namespace: 'kairos.a1b2c',
      tls: { enabled: true },
      apiKey: { secret: 'temporal-api-key', key: 'key' },
    },
  },
};

/** What a program printed and how it ended. */
export interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a tool of the toolchain to its end, whatever that is. */
export async function run(tool: 'helm' | 'kubectl', ...args: string[]): Promise<Run> {
  const command = await resolveTool(tool);
  return new Promise((resolve) => {
    execFile(command, args, { maxBuffer: 64 * 1024 * 1024, timeout: 120_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : 1, stdout, stderr });
    });
  });
}

/** A copy of the chart in a folder, with what stands in for the chart of Temporal: Helm refuses one that lacks a dependency. */
export function copyWithTemporalChart(folder: string): string {
  const copy = path.join(folder, 'kairos-operator');
  cpSync(CHART, copy, { recursive: true });
  addTemporalChart(copy);
  return copy;
}

/** Runs Helm on the chart with values: `helm template …`, `helm lint …`. */
export async function helm(verb: readonly string[], values: Values, ...args: string[]): Promise<Run> {
  const folder = mkdtempSync(path.join(tmpdir(), 'kairos-chart-'));
  try {
    const file = path.join(folder, 'values.yaml');
    writeFileSync(file, stringify(values));
    return await run(
      'helm',
      ...verb,
      copyWithTemporalChart(folder),
      `--values=${file}`,
      `--namespace=${NAMESPACE}`,
      ...args,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What `helm template` takes for the resources of a cluster, beside those of Kubernetes. */
const MONITORS = ['ServiceMonitor', 'PodMonitor'].map((kind) => `monitoring.coreos.com/v1/${kind}`);

/** The text that `helm template` makes. Throws with what Helm says. */
export async function renderText(values: Values, ...args: string[]): Promise<string> {
  const flags = ['--kube-version=1.36.3', `--api-versions=${MONITORS.join(',')}`, ...args];
  const { code, stdout, stderr } = await helm(['template', 'kairos-operator'], values, ...flags);
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

/** The objects that `helm template` makes. Throws with what Helm says, and for text that is no YAML. */
export async function render(values: Values, ...args: string[]): Promise<Manifest[]> {
  return manifests(await renderText(values, ...args));
}

/** The objects of a manifest. Throws for text that is no YAML. */
export function manifests(text: string): Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    const object = document.toJS() as Manifest | null;
    return object === null ? [] : [object];
  });
}

/** Whether an object comes from the chart of Temporal, or from what stands in for it. */
export function isOfTemporalChart({ metadata }: Manifest): boolean {
  return metadata.labels?.['app.kubernetes.io/part-of'] === 'temporal';
}

/** The one object of a kind and name. Throws when there is none or more. */
export function only(objects: readonly Manifest[], kind: string, name: string, namespace?: string): Manifest {
  const found = objects.filter(
    (object) =>
      object.kind === kind &&
      object.metadata.name === name &&
      (namespace === undefined || object.metadata.namespace === namespace),
  );
  const [first, second] = found;
  if (first === undefined || second !== undefined) throw new Error(`${kind} ${name}: ${found.length} of it`);
  return first;
}

/** The pods that the objects ask for, or are, by the name of their owner. */
export function pods(objects: readonly Manifest[]): Map<string, PodSpec> {
  return new Map(
    objects.flatMap(({ kind, metadata, spec }): [string, PodSpec][] => {
      if (kind === 'Pod') return [[metadata.name, spec as unknown as PodSpec]];
      return spec?.template === undefined ? [] : [[metadata.name, spec.template.spec]];
    }),
  );
}

/** Names of the owners whose pods a selector selects in a namespace. */
export function selected(objects: readonly Manifest[], selector: Selector, namespace: string): string[] {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return objects
    .filter(({ kind, metadata, spec }) => {
      const labels = kind === 'Pod' ? metadata.labels : spec?.template?.metadata.labels;
      if (labels === undefined || metadata.namespace !== namespace) return false;
      if (matchExpressions.some(({ operator }) => operator !== 'In')) throw new Error('an operator other than In');
      return (
        Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
        matchExpressions.every(({ key, values }) => values.includes(labels[key] ?? ''))
      );
    })
    .map(({ metadata }) => metadata.name)
    .toSorted();
}

/** The one container of a pod. */
export function containerOf(objects: readonly Manifest[], owner: string): Container {
  const [container, another] = pods(objects).get(owner)?.containers ?? [];
  if (container === undefined || another !== undefined) throw new Error(`${owner}: not exactly one container`);
  return container;
}
