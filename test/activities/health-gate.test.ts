import { Context, asyncLocalStorage, type Info } from '@temporalio/activity';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { closedHealth, refreshHealth, waitForHealth } from '../../activities/health-gate.ts';
import type { PlaceAnswer } from '../../activities/wait-until-open.ts';
import type { HealthGateSpec, RolloutSpec } from '../../api/rollout-spec.ts';
import type { RolloutStatus } from '../../api/types.ts';
import { KubeError } from '../../kube/errors.ts';
import { HAND, MINUTE, SECOND, elapse } from './step-world.ts';

const WORKLOADS = { kind: 'Deployment', namespace: 'db', name: 'pg' } as const;
const GATE: HealthGateSpec = { name: 'database', intervalMs: 10 * SECOND, workloads: WORKLOADS };

beforeEach(() => {
  jest.useFakeTimers();
  jest.setSystemTime(new Date('2026-03-02T12:00:00Z'));
});
afterEach(() => {
  jest.useRealTimers();
});

/** A cluster with one Deployment, of which so many pods of three are available. */
function world() {
  const said = {
    available: 3,
    forbidden: false,
    asked: 0,
    answer: undefined as PlaceAnswer | undefined,
    beats: [] as unknown[],
  };
  const rollout: RolloutStatus = {
    workflowID: HAND.rolloutID,
    generation: 1,
    attempt: 1,
    phase: 'Running',
    message: 'wave canary',
  };
  const request = async ({
    verb,
    path,
    body,
  }: {
    verb: string;
    path: string;
    body?: { status: { rollout: object } };
  }) => {
    await Promise.resolve();
    if (path === '/apis/apps/v1') return { resources: [{ name: 'deployments', kind: 'Deployment', namespaced: true }] };
    if (path.includes('/deployments/')) {
      said.asked += 1;
      if (said.forbidden) throw new KubeError('no', { verb, path, reason: 'Forbidden', retryable: false });
      return {
        metadata: { name: 'pg', generation: 1 },
        spec: { replicas: 3 },
        status: { observedGeneration: 1, availableReplicas: said.available },
      };
    }
    Object.assign(rollout, body?.status.rollout);
    return { metadata: { name: 'v4', uid: 'u', resourceVersion: '1' }, spec: { image: 'i' }, status: { rollout } };
  };
  const never = (signal: AbortSignal) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  const view = {
    ref: HAND.cluster,
    client: { request },
    nodes: { values: () => [] },
    kairosNodes: {
      values: () => [],
      waitFor: (_name: unknown, _decide: unknown, signal: AbortSignal) => never(signal),
    },
    outages: { waitFor: (_decide: unknown, signal: AbortSignal) => never(signal) },
  } as unknown as ClusterView;
  const contextWith = (spec: Partial<RolloutSpec>) => ({ ...HAND, spec: { ...HAND.spec, ...spec } });
  const wait = (spec: Partial<RolloutSpec>, agoMs = 0) => {
    const info = { scheduledTimestampMs: Date.now() - agoMs, heartbeatTimeoutMs: 4 * SECOND } as Info;
    const none = undefined as never;
    const beat = (details: unknown) => void said.beats.push(details);
    const context = new Context(
      info,
      new Promise<never>(() => undefined),
      new AbortController().signal,
      beat,
      none,
      none,
      none,
      none,
    );
    void asyncLocalStorage
      .run(context, () => waitForHealth(view, { ...contextWith(spec), wave: 'canary' }))
      .then((answer) => (said.answer = answer));
  };
  return { said, rollout, view, wait, contextWith };
}

describe('a health gate', () => {
  it('is closed until it has been asked, and its answer holds for its interval, for all who ask', async () => {
    const { said, view, contextWith } = world();
    const context = contextWith({ healthGates: [GATE] });
    expect(closedHealth(view, context)).toMatchObject({ gate: 'Health', reason: 'health gate database: being asked' });
    await Promise.all(Array.from({ length: 20 }, () => refreshHealth(view, context)));
    expect(closedHealth(view, context)).toBeUndefined();
    expect(said.asked).toBe(1);
    await elapse(10 * SECOND);
    await refreshHealth(view, context);
    expect(said.asked).toBe(1);
    await elapse(1);
    expect(closedHealth(view, context)?.reason).toBe('health gate database: being asked');
    await refreshHealth(view, context);
    expect(said.asked).toBe(2);
  });

  it('names the object, what is, what should be and since when', async () => {
    const { said, view, contextWith } = world();
    const context = contextWith({ healthGates: [GATE] });
    said.available = 1;
    await refreshHealth(view, context);
    await elapse(25 * SECOND);
    await refreshHealth(view, context);
    expect(closedHealth(view, context)).toEqual({
      gate: 'Health',
      reason:
        'health gate database: Deployment db/pg: 1 of 3 pods are available, should be 3; seen since 2026-03-02T12:00:00Z',
    });
  });

  it('on nodes goes through them once after each of their changes, however many wait for it', () => {
    const { view, contextWith } = world();
    const node = { name: 'n-1', labels: {}, ready: false };
    let [changed, gone]: [() => void, number] = [() => undefined, 0];
    const nodes = {
      values: () => {
        gone += 1;
        return [node];
      },
      onChange: (listener: () => void) => (changed = listener),
    };
    const watching = { ...view, nodes } as unknown as ClusterView;
    const context = contextWith({ healthGates: [{ name: 'nodes', intervalMs: 10 * SECOND, nodes: {} }] });
    const reasons = () => Array.from({ length: 20 }, () => closedHealth(watching, context)?.reason);
    expect(reasons().at(-1)).toMatch(/^health gate nodes: node n-1: Ready is False, should be True/);
    expect(gone).toBe(1);
    node.ready = true;
    changed();
    expect(reasons()).toEqual(Array.from({ length: 20 }, () => undefined));
    expect(gone).toBe(2);
  });

  it('says what to grant where the worker may not read', async () => {
    const { said, view, contextWith } = world();
    said.forbidden = true;
    const context = contextWith({ healthGates: [GATE] });
    await refreshHealth(view, context);
    expect(closedHealth(view, context)?.reason).toContain(
      'the worker may not read deployments.apps: add {apiGroups: ["apps"], resources: [deployments]} to worker.mayRead in the values of the chart',
    );
  });
});

describe('after a wave', () => {
  it('goes on at once where all is well', async () => {
    const { said, wait, rollout } = world();
    wait({ healthGates: [GATE] });
    await elapse(0);
    expect(said.answer).toEqual({ open: true });
    expect(rollout.message).toBe('wave canary');
  });

  it('waits as long as it is closed, says so in the status and in its heartbeats, and asks once an interval', async () => {
    const { said, wait, rollout } = world();
    said.available = 2;
    wait({ healthGates: [GATE] });
    await elapse(61 * SECOND);
    expect(said.answer).toBeUndefined();
    expect(said.asked).toBe(6);
    const text =
      'health gate database: Deployment db/pg: 2 of 3 pods are available, should be 3; seen since 2026-03-02T12:00:00Z';
    expect(rollout.message).toBe(`wave canary; waiting: ${text}`);
    expect(said.beats.at(-1)).toMatchObject({ waitsFor: text });
    said.available = 3;
    await elapse(11 * SECOND);
    expect(said.answer).toEqual({ open: true });
    expect(rollout.message).toBe('wave canary');
  });

  it.each<[string, Partial<RolloutSpec>, number]>([
    ['of all gates', { gateTimeoutMs: 20 * MINUTE, healthGates: [GATE] }, 20],
    ['of its own', { gateTimeoutMs: 20 * MINUTE, healthGates: [{ ...GATE, timeoutMs: 5 * MINUTE }] }, 5],
    [
      'of its own, which may be longer',
      { gateTimeoutMs: MINUTE, healthGates: [{ ...GATE, timeoutMs: 5 * MINUTE }] },
      5,
    ],
  ])('ends at the deadline %s', async (_, spec, minutes) => {
    const { said, wait } = world();
    said.available = 0;
    wait(spec);
    await elapse(minutes * MINUTE - SECOND);
    expect(said.answer).toBeUndefined();
    await elapse(2 * SECOND);
    expect(said.answer).toMatchObject({
      open: false,
      reason: expect.stringMatching(/^after wave canary: health gate database: Deployment db\/pg: 0 of 3/),
    });
  });

  it('counts only the windows of the rollout for the deadline, before a crash, too', async () => {
    const { said, wait } = world();
    said.available = 0;
    const windows = [{ cron: '30 12 * * *', durationMs: 30 * MINUTE, timeZone: 'UTC' }];
    // Asked for a day ago: of the window of yesterday half an hour has been waited.
    wait({ gateTimeoutMs: 40 * MINUTE, healthGates: [GATE], windows }, 24 * 60 * MINUTE);
    await elapse(39 * MINUTE);
    expect(said.answer).toBeUndefined();
    await elapse(2 * MINUTE);
    expect(said.answer).toMatchObject({ open: false });
  });
});
