import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { readStrategyDefaults } from '../../process/strategy-defaults.ts';
import { containerOf, HELM_BUILD_MS, NAMESPACE, only, PROFILES, render, type Manifest } from './chart.ts';

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
