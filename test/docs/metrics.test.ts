import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { Registry } from 'prom-client';
import { createActivities } from '../../activities/index.ts';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { Metrics } from '../../process/metrics.ts';
import { Readiness } from '../../process/readiness.ts';
import { registerUpgradeMetrics } from '../../watcher/metrics.ts';
import { observedActivities } from '../../worker/metrics.ts';

interface Described {
  name: string;
  kind: string;
  labels: string[];
}

const byName = (one: Described, other: Described) => (one.name < other.name ? -1 : 1);

/** The rows of the table below a heading. */
function documented(heading: string): Described[] {
  const text = readFileSync(path.join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `kairos_'))
    .map((line) => {
      const [, name = '', kind = '', labels = ''] = line.split('|').map((cell) => cell.trim());
      const unquoted = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word ?? '');
      return { name: unquoted(name)[0] ?? '', kind, labels: unquoted(labels) };
    })
    .toSorted(byName);
}

/** What a registry serves, but for what every Node process has. */
async function served(registry: Registry): Promise<Described[]> {
  const metrics = await registry.getMetricsAsJSON();
  return metrics
    .filter(({ name }) => !/^(process|nodejs)_/.test(name))
    .map(({ name, type }) => {
      const metric = registry.getSingleMetric(name) as unknown as { labelNames: string[] };
      return { name, kind: String(type), labels: [...metric.labelNames].filter((label) => label !== 'le') };
    })
    .toSorted(byName);
}

describe('docs/metrics.md says of each metric its kind and its labels, and names no other:', () => {
  it.each<[string, (registry: Registry) => Registry]>([
    ['Both programs', () => new Metrics(new Readiness()).registry],
    [
      'Watcher',
      (registry) => {
        const none = new Map<string, never>();
        registerUpgradeMetrics(registry, { upgrades: none, kairosNodes: none, nodes: none } as never);
        return registry;
      },
    ],
    [
      'Worker',
      (registry) => {
        observedActivities(createActivities({} as ClusterView), registry);
        return registry;
      },
    ],
  ])('%s', async (heading, fill) => {
    const found = await served(fill(new Registry()));
    expect(found.length).toBeGreaterThan(3);
    expect(documented(heading)).toEqual(found);
  });

  it('each by the conventions of Prometheus', () => {
    const all = ['Both programs', 'Watcher', 'Worker'].flatMap(documented);
    for (const { name, kind } of all) {
      expect(name).toMatch(/^kairos_[a-z_]+$/);
      expect([name, name.endsWith('_total')]).toEqual([name, kind === 'counter']);
      if (kind === 'histogram') expect(name).toMatch(/_seconds$/);
    }
  });
});
