import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { CancelledFailure } from '@temporalio/common';
import { Registry } from 'prom-client';
import type { Activities } from '../../activities/index.ts';
import type { KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { serveHealth } from '../../process/health.ts';
import { Metrics } from '../../process/metrics.ts';
import { observedClient, resourceOf } from '../../process/observed-client.ts';
import { Readiness } from '../../process/readiness.ts';
import { freePort } from '../../sim/ports.ts';
import { registerUpgradeMetrics } from '../../watcher/metrics.ts';
import { observedActivities } from '../../worker/metrics.ts';

const valuesOf = async (registry: Registry, name: string) => {
  const { values } = (await registry.getSingleMetric(name)?.get()) ?? { values: [] };
  return Object.fromEntries(
    values.filter(({ value }) => value !== 0).map(({ labels, value }) => [Object.values(labels).join(' '), value]),
  );
};

describe('a path is counted as its resource, never by name:', () => {
  it.each([
    ['/api/v1/nodes', 'nodes'],
    ['/api/v1/nodes/worker-1', 'nodes'],
    ['/api/v1/namespaces', 'namespaces'],
    ['/api/v1/namespaces/kube-system', 'namespaces'],
    ['/api/v1/namespaces/db/pods', 'pods'],
    ['/api/v1/namespaces/db/pods/pg-0/eviction', 'pods/eviction'],
    ['/apis/kairos.io/v1alpha1/kairosnodes/worker-1/status', 'kairosnodes/status'],
    ['/apis/batch/v1/namespaces/fleet/jobs/kairos-upgrade-1', 'jobs'],
    ['/apis/operator.kairos.io/v1alpha1/namespaces/fleet/nodeopupgrades/v4/status', 'nodeopupgrades/status'],
    ['/version', 'other'],
    ['/openapi/v3/apis/kairos.io/v1alpha1', 'other'],
  ])('%s as %s', (path, expected) => {
    expect(resourceOf(path)).toBe(expected);
  });
});

describe('the metrics of a process', () => {
  const refused = new KubeError('no', { verb: 'get', path: '', code: 409, reason: 'Conflict', retryable: false });
  const silent = new KubeError('no', { verb: 'get', path: '', reason: 'Unreachable', retryable: true });
  const client = (answers: (() => Promise<unknown>)[]): KubeClient => ({
    request: <T>() => (answers.shift()?.() ?? Promise.resolve({})) as Promise<T>,
    watch: async (_path, _query, onEvent, _signal, onOpen) => {
      onOpen?.();
      onEvent({ type: 'BOOKMARK', object: {} });
      await answers.shift()?.();
    },
    close: () => Promise.resolve(),
  });

  it('count calls by verb, resource and how they ended', async () => {
    const metrics = new Metrics(new Readiness());
    const answers = [
      () => Promise.resolve({}),
      () => Promise.reject(refused),
      () => Promise.reject(silent),
      () => Promise.reject(new Error('stopped')),
    ];
    const observed = observedClient(client(answers), metrics);
    for (let calls = answers.length; calls > 0; calls -= 1)
      await observed.request({ verb: 'merge-patch', path: '/api/v1/nodes/worker-1' }).catch(() => undefined);
    expect(await valuesOf(metrics.registry, 'kairos_api_requests_total')).toEqual({
      'merge-patch nodes 200': 1,
      'merge-patch nodes 409': 1,
      'merge-patch nodes Unreachable': 1,
      'merge-patch nodes Aborted': 1,
    });
    expect(await metrics.registry.metrics()).toContain(
      'kairos_api_request_duration_seconds_count{verb="merge-patch"} 4',
    );
  });

  it('count how watches end, and for how long they have been silent', async () => {
    const metrics = new Metrics(new Readiness());
    const observed = observedClient(client([() => Promise.resolve(), () => Promise.reject(silent)]), metrics);
    const { signal } = new AbortController();
    const watch = (query = {}) =>
      observed.watch('/api/v1/nodes', query, () => undefined, signal).catch(() => undefined);
    await watch();
    await watch();
    await watch({ fieldSelector: 'spec.nodeName=worker-1' });
    expect(await valuesOf(metrics.registry, 'kairos_watches_ended_total')).toEqual({
      'nodes closed': 1,
      'nodes failed': 1,
    });
    const { nodes } = await valuesOf(metrics.registry, 'kairos_watch_silence_seconds');
    expect(nodes).toBeGreaterThan(0);
    expect(nodes).toBeLessThan(10);
  });

  it('say what is missing as long as it is', async () => {
    const readiness = new Readiness();
    const { registry } = new Metrics(readiness);
    readiness.lacks('Temporal worker', 'no');
    expect(await valuesOf(registry, 'kairos_missing')).toEqual({ 'Temporal worker': 1 });
    expect(await valuesOf(registry, 'kairos_temporal_connected')).toEqual({});
    readiness.has('Temporal worker');
    expect(await valuesOf(registry, 'kairos_missing')).toEqual({});
    expect(await valuesOf(registry, 'kairos_temporal_connected')).toEqual({ '': 1 });
  });

  it('are served beside the health of the process', async () => {
    const readiness = new Readiness();
    const server = await serveHealth(await freePort(), readiness, new Metrics(readiness).registry);
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`);
    const text = await answer.text();
    server.close();
    await once(server, 'close');
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toMatch(/^# TYPE kairos_temporal_connected gauge\nkairos_temporal_connected 1$/m);
  });
});

describe('the metrics of upgrades', () => {
  const view = (nodes: object[], kairosNodes: object[], upgrades: object[]) => {
    const all = (list: object[]) => ({ values: () => list });
    const registry = new Registry();
    registerUpgradeMetrics(registry, {
      nodes: all(nodes),
      kairosNodes: all(kairosNodes),
      upgrades: all(upgrades),
    } as never);
    return registry;
  };

  it('count nodes and rollouts as they stand, and go back to 0', async () => {
    const nodes = [
      { ready: true, unschedulable: true, owner: 'node/a' },
      { ready: false, unschedulable: true, owner: 'held:Lost' },
      { ready: false, unschedulable: true },
      { ready: false, unschedulable: false },
      { ready: true, unschedulable: false },
    ];
    const kairosNodes = [
      { status: { upgradeState: 'InProgress', step: 'Drain', inHand: {} } },
      { status: { upgradeState: 'InProgress', inHand: {} } },
      { status: {} },
    ];
    const registry = view(nodes, kairosNodes, [{ status: { phase: 'Running' } }, {}]);
    expect(await valuesOf(registry, 'kairos_nodes_out')).toEqual({ in_hand: 1, held: 1, cordoned: 1, not_ready: 1 });
    expect(await valuesOf(registry, 'kairos_nodes_in_hand')).toEqual({ Drain: 1, Mark: 1 });
    expect(await valuesOf(registry, 'kairos_nodes')).toEqual({ InProgress: 2, Idle: 1 });
    expect(await valuesOf(registry, 'kairos_rollouts')).toEqual({ Running: 1, Pending: 1 });
    nodes.length = 0;
    expect(await valuesOf(registry, 'kairos_nodes_out')).toEqual({});
    expect(await registry.metrics()).toContain('kairos_nodes_out{reason="held"} 0');
  });

  it('count steps, gates and verdicts', async () => {
    const registry = new Registry();
    const answers: Record<string, unknown> = {
      checkGates: { answer: 'Done', verdict: 'AlreadyOnTarget', message: '' },
      endNode: { node: 'worker-1', outcome: 'Ended', verdict: 'Succeeded', message: '' },
    };
    const failing: Record<string, Error> = { drainNode: new CancelledFailure('stop'), markNode: new Error('no') };
    const run = (name: string) => () =>
      failing[name] === undefined ? Promise.resolve(answers[name]) : Promise.reject(failing[name]);
    const names = ['checkGates', 'endNode', 'drainNode', 'markNode'];
    const activities = Object.fromEntries(names.map((name) => [name, run(name)])) as unknown as Activities;
    const observed = observedActivities(activities, registry) as unknown as Record<
      string,
      (input: object) => Promise<unknown>
    >;
    for (const name of names) await observed[name]?.({}).catch(() => undefined);
    await observed['endNode']?.({ unrecorded: true });
    expect(await valuesOf(registry, 'kairos_steps_total')).toEqual({
      'checkGates ok': 1,
      'endNode ok': 2,
      'drainNode cancelled': 1,
      'markNode failed': 1,
    });
    expect(await valuesOf(registry, 'kairos_gate_answers_total')).toEqual({ Done: 1 });
    expect(await valuesOf(registry, 'kairos_verdicts_total')).toEqual({ AlreadyOnTarget: 1, Succeeded: 1 });
    expect(await valuesOf(registry, 'kairos_steps_running')).toEqual({});
  });
});
