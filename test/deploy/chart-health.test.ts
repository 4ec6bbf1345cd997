import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { readPrometheusServers } from '../../process/prometheus-servers.ts';
import { readStrategyDefaults } from '../../process/strategy-defaults.ts';
import { selfSigned } from '../agent/self-signed.ts';
import { containerOf, HELM_BUILD_MS, NAMESPACE, only, pods, PROFILES, render, type Manifest } from './chart.ts';

const STRATEGY = { maxUnavailable: '25%', windows: [{ cron: '0 22 * * MON-FRI', duration: '4h' }] };
const minimal = PROFILES['embedded'] ?? {};

/** The checksum on the pods of the watcher. */
function checksum(objects: readonly Manifest[]): string | undefined {
  const { template } = only(objects, 'Deployment', 'kairos-watcher').spec as {
    template: { metadata: { annotations?: Record<string, string> } };
  };
  return template.metadata.annotations?.['checksum/config'];
}

describe('the defaults of spec.strategy', () => {
  it(
    'come to the watcher as a file that it can read, and a change of them starts it anew',
    async () => {
      const [objects, others, none] = await Promise.all(
        [STRATEGY, { ...STRATEGY, maxUnavailable: 2 }, {}].map((strategy) =>
          render({ ...minimal, defaults: { strategy } }),
        ),
      );
      const { data } = only(objects ?? [], 'ConfigMap', 'kairos-defaults', NAMESPACE) as unknown as {
        data: Record<string, string>;
      };
      const folder = mkdtempSync(path.join(tmpdir(), 'kairos-chart-'));
      const file = path.join(folder, 'strategy.yaml');
      writeFileSync(file, data['strategy.yaml'] ?? '');
      expect(readStrategyDefaults(file)).toEqual(STRATEGY);
      rmSync(folder, { recursive: true });

      const { env = [], volumeMounts = [] } = containerOf(objects ?? [], 'kairos-watcher');
      const mount = volumeMounts.find(({ name }) => name === 'defaults');
      expect(env).toContainEqual({ name: 'KAIROS_DEFAULTS_FILE', value: `${mount?.mountPath}/strategy.yaml` });
      expect(containerOf(objects ?? [], 'kairos-worker').env).not.toContainEqual(
        expect.objectContaining({ name: 'KAIROS_DEFAULTS_FILE' }),
      );
      expect(checksum(objects ?? [])).toMatch(/^[0-9a-f]{64}$/);
      expect(checksum(others ?? [])).not.toBe(checksum(objects ?? []));
      expect(checksum(none ?? [])).toBeUndefined();
      expect((none ?? []).filter(({ metadata }) => metadata.name === 'kairos-defaults')).toEqual([]);
    },
    HELM_BUILD_MS,
  );
});

describe('the credentials of a Prometheus', () => {
  it(
    'come to the worker alone, as a file that it can read, which names those of the Secret',
    async () => {
      const prometheus = [
        { url: 'https://prometheus.monitoring:9090', secret: 'reader', ca: 'ca.crt', bearerToken: 'token' },
        { url: 'https://thanos.example.com', secret: 'thanos', username: 'kairos', password: 'password' },
      ];
      const objects = await render({ ...minimal, worker: { prometheus } });
      const { data } = only(objects, 'ConfigMap', 'kairos-prometheus', NAMESPACE) as unknown as {
        data: Record<string, string>;
      };
      const { env = [], volumeMounts = [] } = containerOf(objects, 'kairos-worker');
      const mountOf = (volume: string) => volumeMounts.find(({ name }) => name === volume)?.mountPath ?? '';
      expect(env).toContainEqual({ name: 'KAIROS_PROMETHEUS_FILE', value: `${mountOf('prometheus')}/servers.yaml` });
      const folder = mkdtempSync(path.join(tmpdir(), 'kairos-chart-'));
      const here = (file: string) => path.join(folder, path.basename(path.dirname(file)), path.basename(file));
      const files = {
        caFile: `${mountOf('prometheus-0')}/ca.crt`,
        bearerTokenFile: `${mountOf('prometheus-0')}/token`,
        passwordFile: `${mountOf('prometheus-1')}/password`,
      };
      for (const file of Object.values(files)) {
        mkdirSync(path.dirname(here(file)), { recursive: true });
        writeFileSync(here(file), file.endsWith('.crt') ? selfSigned().cert : 'secret');
      }
      const mounted = Object.values(files).reduce(
        (text, file) => text.replaceAll(file, here(file)),
        data['servers.yaml'] ?? '',
      );
      const file = path.join(folder, 'servers.yaml');
      writeFileSync(file, mounted);
      expect(readPrometheusServers(file)).toEqual([
        { url: prometheus[0]?.url, caFile: here(files.caFile), bearerTokenFile: here(files.bearerTokenFile) },
        { url: prometheus[1]?.url, username: 'kairos', passwordFile: here(files.passwordFile) },
      ]);
      rmSync(folder, { recursive: true });

      expect(pods(objects).get('kairos-worker')?.['volumes']).toEqual(
        expect.arrayContaining([
          expect.objectContaining({
            name: 'prometheus-0',
            secret: expect.objectContaining({
              secretName: 'reader',
              items: [
                { key: 'ca.crt', path: 'ca.crt' },
                { key: 'token', path: 'token' },
              ],
            }),
          }),
        ]),
      );
      expect(JSON.stringify(pods(objects).get('kairos-watcher'))).not.toContain('prometheus');
    },
    HELM_BUILD_MS,
  );
});

describe('what health gates look at', () => {
  it(
    'may be read by the worker, and reached by it',
    async () => {
      const egress = { ports: [{ port: 9090 }], to: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }] };
      const objects = await render({
        ...minimal,
        worker: { mayRead: [{ apiGroups: ['apps'], resources: ['deployments', 'statefulsets'] }] },
        networkPolicy: { workerEgress: [egress] },
      });
      const role = only(objects, 'ClusterRole', 'kairos-worker-may-read') as unknown as { rules: unknown };
      expect(role.rules).toEqual([
        { apiGroups: ['apps'], resources: ['deployments', 'statefulsets'], verbs: ['get', 'list'] },
      ]);
      expect(only(objects, 'ClusterRoleBinding', 'kairos-worker-may-read')).toMatchObject({
        roleRef: { name: 'kairos-worker-may-read' },
        subjects: [{ name: 'kairos-worker', namespace: NAMESPACE }],
      });
      const rules = (name: string) => only(objects, 'NetworkPolicy', name, NAMESPACE).spec?.['egress'];
      expect(rules('kairos-worker')).toContainEqual(egress);
      expect(rules('kairos-watcher')).not.toContainEqual(egress);
    },
    HELM_BUILD_MS,
  );
});
