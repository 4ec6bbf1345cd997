import { describe, expect, it } from '@jest/globals';
import {
  queryOf,
  unwellFields,
  unwellNodes,
  unwellSamples,
  unwellWorkloads,
  type HealthNode,
  type Sample,
  type Workload,
} from '../../policy/health.ts';

const node = (name: string, more: Partial<HealthNode> = {}): HealthNode => ({
  name,
  labels: { pool: name.slice(0, 1) },
  ready: true,
  conditions: { Ready: 'True' },
  ...more,
});
const down = { ready: false, conditions: { Ready: 'Unknown' }, notReadySince: '2026-03-01T10:00:00Z' };

describe('nodes', () => {
  type Gate = Parameters<typeof unwellNodes>[0];
  it.each<[string, Gate, HealthNode[], string | undefined]>([
    ['are well where all are Ready', {}, [node('a-1'), node('b-1')], undefined],
    [
      'are named with what they are, since when, and what they should be',
      {},
      [node('a-1'), node('b-1', down)],
      'node b-1: Ready is Unknown since 2026-03-01T10:00:00Z, should be True',
    ],
    [
      'of other labels do not count',
      { selector: { matchLabels: { pool: 'a' } } },
      [node('a-1'), node('b-1', down)],
      undefined,
    ],
    ['that a rollout has in hand do not count', {}, [node('a-1', { ...down, owner: 'node/c/uid' })], undefined],
    [
      'that are held do',
      {},
      [node('a-1', { ...down, owner: 'held:Lost' })],
      'node a-1: Ready is Unknown since 2026-03-01T10:00:00Z, should be True',
    ],
    [
      'may be asked for other conditions',
      { conditions: [{ type: 'KernelDeadlock', status: 'False' }] },
      [
        node('a-1', { conditions: { KernelDeadlock: 'True' } }),
        node('a-2', { conditions: { KernelDeadlock: 'False' } }),
        node('a-3'),
      ],
      'node a-1: KernelDeadlock is True, should be False; node a-3: KernelDeadlock is not there, should be False',
    ],
    [
      'that are not there close the gate',
      { selector: { matchLabels: { pool: 'z' } } },
      [node('a-1')],
      'no node has the labels of its selector',
    ],
    [
      'are named up to three',
      {},
      ['a', 'b', 'c', 'd', 'e'].map((name) => node(name, { ready: false, conditions: {} })),
      'node a: Ready is False, should be True; node b: Ready is False, should be True; node c: Ready is False, should be True; and 2 more',
    ],
  ])('%s', (_, gate, nodes, said) => {
    expect(unwellNodes(gate, nodes)).toBe(said);
  });
});

describe('workloads', () => {
  const deployment = (available: number | undefined, more: Partial<Workload> = {}): Workload => ({
    metadata: { name: 'pg', generation: 2 },
    spec: { replicas: 3 },
    status: { observedGeneration: 2, ...(available === undefined ? {} : { availableReplicas: available }) },
    ...more,
  });
  const gate = { kind: 'Deployment', namespace: 'db', name: 'pg' } as const;
  it.each<[string, Parameters<typeof unwellWorkloads>[0], Workload[], string | undefined]>([
    ['are whole with all pods available', gate, [deployment(3)], undefined],
    ['are whole with more than all, in the middle of an update', gate, [deployment(4)], undefined],
    ['are not with fewer', gate, [deployment(1)], 'Deployment db/pg: 1 of 3 pods are available, should be 3'],
    ['are not with none', gate, [deployment(undefined)], 'Deployment db/pg: 0 of 3 pods are available, should be 3'],
    [
      'have one pod where nothing is said',
      gate,
      [deployment(0, { spec: {} })],
      'Deployment db/pg: 0 of 1 pods are available, should be 1',
    ],
    [
      'are whole without pods where none are wanted',
      gate,
      [deployment(undefined, { spec: { replicas: 0 } })],
      undefined,
    ],
    [
      'are not before their controller has seen the last change',
      gate,
      [deployment(3, { metadata: { name: 'pg', generation: 3 } })],
      'Deployment db/pg: its controller has seen generation 2, should be 3',
    ],
    ['that are not there close the gate', gate, [], 'there is no Deployment db/pg'],
    [
      'that no label finds close the gate',
      { kind: 'StatefulSet', namespace: 'db', selector: { matchLabels: { app: 'x' } } },
      [],
      'no StatefulSet in namespace db has the labels of its selector ({"matchLabels":{"app":"x"}})',
    ],
    [
      'of a DaemonSet are as many as it has nodes',
      { kind: 'DaemonSet', namespace: 'net', name: 'cni' },
      [{ metadata: { name: 'cni' }, status: { desiredNumberScheduled: 5, numberAvailable: 4 } }],
      'DaemonSet net/cni: 4 of 5 pods are available, should be 5',
    ],
  ])('%s', (_, asked, found, said) => {
    expect(unwellWorkloads(asked, found)).toBe(said);
  });
});

describe('fields', () => {
  const gate = {
    apiVersion: 'ceph.rook.io/v1',
    kind: 'CephCluster',
    namespace: 'rook',
    name: 'ceph',
    jsonPath: '.status.ceph.health',
    equals: 'HEALTH_OK',
  };
  const ceph = (health?: string) => ({
    metadata: { name: 'ceph' },
    status: { ceph: health === undefined ? {} : { health } },
  });
  it.each<[string, Parameters<typeof unwellFields>[0], Parameters<typeof unwellFields>[1], string | undefined]>([
    ['are well with the value', gate, [ceph('HEALTH_OK')], undefined],
    [
      'are not with another',
      gate,
      [ceph('HEALTH_WARN')],
      'CephCluster rook/ceph: .status.ceph.health is "HEALTH_WARN", should be "HEALTH_OK"',
    ],
    [
      'are not without it',
      gate,
      [ceph()],
      'CephCluster rook/ceph: .status.ceph.health is not there, should be "HEALTH_OK"',
    ],
    ['are compared as text', { ...gate, jsonPath: '.metadata.name', equals: 'ceph' }, [ceph()], undefined],
    ['of no object close the gate', gate, [], 'there is no CephCluster rook/ceph'],
    [
      'of no label close the gate',
      { apiVersion: 'v1', kind: 'Namespace', selector: {}, jsonPath: '.status.phase', equals: 'Active' },
      [],
      'no Namespace has the labels of its selector',
    ],
    [
      'must be so in each object and at each place that the path leads to',
      { ...gate, jsonPath: '.list[*]', equals: '1' },
      [{ metadata: { name: 'a' }, list: [1, 1] } as never, { metadata: { name: 'b' }, list: [1, 2] } as never],
      'CephCluster rook/b: .list[*] is "1", "2", should be "1"',
    ],
  ])('%s', (_, asked, found, said) => {
    expect(unwellFields(asked, found)).toBe(said);
  });
});

describe('samples of Prometheus', () => {
  const url = 'http://p:9090';
  const sample = (value: number, labels: Record<string, string> = {}): Sample => ({ labels, value });
  it.each<[string, Parameters<typeof unwellSamples>[0], Sample[], string | undefined]>([
    ['below a limit are well', { url, query: 'q', below: '0.05' }, [sample(0.04), sample(0)], undefined],
    ['at the limit are not', { url, query: 'q', below: '0.05' }, [sample(0.05)], 'q is 0.05, should be below 0.05'],
    [
      'are named by their labels',
      { url, query: 'q', above: '1', below: '3' },
      [sample(2), sample(4, { __name__: 'q', pod: 'a' })],
      'q {pod="a"} is 4, should be above 1 and below 3',
    ],
    ['equal to a number are well however it is written', { url, query: 'q', equals: '1.0' }, [sample(1)], undefined],
    ['that are no number are not', { url, query: 'q', below: '1' }, [sample(NaN)], 'q is NaN, should be below 1'],
    ['that are infinite are above all', { url, query: 'q', above: '1' }, [sample(Infinity)], undefined],
    [
      'that are not there close the gate',
      { url, query: 'q', below: '1' },
      [],
      'the query q has no samples, should have some',
    ],
    ['of alerts are well where there are none', { url, alerts: {} }, [], undefined],
    [
      'of alerts name them',
      { url, alerts: {} },
      [sample(1, { alertname: 'DiskFull', alertstate: 'firing', severity: 'critical' })],
      'alert DiskFull is firing {severity="critical"}',
    ],
  ])('%s', (_, gate, samples, said) => {
    expect(unwellSamples(gate, samples)).toBe(said);
  });

  it.each<[string, Parameters<typeof queryOf>[0], string]>([
    ['of its own', { url, query: 'up', equals: '1' }, 'up'],
    ['for all alerts', { url, alerts: {} }, 'ALERTS{alertstate="firing"}'],
    [
      'for some',
      { url, alerts: { selector: 'severity=~"critical|page"' } },
      'ALERTS{alertstate="firing",severity=~"critical|page"}',
    ],
  ])('are asked for by a query %s', (_, gate, query) => {
    expect(queryOf(gate)).toBe(query);
  });
});
