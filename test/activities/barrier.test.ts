import { Context, asyncLocalStorage, type Info } from '@temporalio/activity';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { waitForControlPlane, type PlaceAnswer } from '../../activities/place.ts';
import { KubeError } from '../../kube/errors.ts';
import type { OutNode } from '../../policy/budget.ts';
import { HAND, MINUTE, SECOND, elapse } from './step-world.ts';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

const out = (name: string, controlPlane: boolean): OutNode => ({ name, controlPlane, marked: false, order: 0 });
const forbidden = () =>
  new KubeError('forbidden', { verb: 'get', path: '/readyz', reason: 'Forbidden', retryable: false });
const notReady = () =>
  new KubeError('get /readyz: 500 [-]etcd failed', { verb: 'get', path: '/readyz', reason: 'Error', retryable: true });

/** Waits at the barrier; what is out, and what the API server says of itself, may change meanwhile. */
function atTheBarrier(start: { out?: OutNode[]; trouble?: Error; database?: Error }) {
  const { trouble, database } = start;
  const now = { out: start.out ?? [], trouble, database, asked: 0, answer: undefined as PlaceAnswer | undefined };
  const until = (_decide: unknown, signal: AbortSignal) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  const view = {
    ref: HAND.cluster,
    client: {
      request: async ({ path }: { path: string }) => {
        await Promise.resolve();
        if (path.endsWith('/selfsubjectreviews'))
          return { status: { userInfo: { username: 'system:serviceaccount:kairos-system:kairos-worker' } } };
        if (path === '/api/v1/namespaces/kube-system') {
          if (now.database !== undefined) throw now.database;
          return {};
        }
        expect(path).toBe('/readyz');
        now.asked += 1;
        if (now.trouble !== undefined) throw now.trouble;
        return 'ok';
      },
    },
    outages: { values: () => now.out, waitFor: until },
    kairosNodes: { waitFor: (_name: unknown, decide: unknown, signal: AbortSignal) => until(decide, signal) },
  } as unknown as ClusterView;
  const info = { scheduledTimestampMs: Date.now(), heartbeatTimeoutMs: 4 * SECOND } as Info;
  const never = new Promise<never>(() => undefined);
  const none = undefined as never;
  const context = new Context(info, never, new AbortController().signal, () => undefined, none, none, none, none);
  void asyncLocalStorage.run(context, () => waitForControlPlane(view, HAND)).then((answer) => (now.answer = answer));
  return now;
}

describe('between the control plane and the workers', () => {
  it('an API server that says that it is ready lets the workers start, with workers out or not', async () => {
    const now = atTheBarrier({ out: [out('w-1', false)] });
    await elapse(SECOND);
    expect(now.answer).toEqual({ open: true });
  });

  it('nothing starts before it has said so', async () => {
    const now = atTheBarrier({ trouble: notReady() });
    await elapse(30 * SECOND);
    expect(now.answer).toBeUndefined();
    expect(now.asked).toBeLessThanOrEqual(31);
    now.trouble = undefined;
    await elapse(2 * SECOND);
    expect(now.answer).toEqual({ open: true });
  });

  it('nothing starts while a control-plane node is out, and at the deadline it is named', async () => {
    const now = atTheBarrier({ out: [out('cp-2', true), out('w-1', false)] });
    await elapse(60 * MINUTE);
    expect(now.answer).toEqual({
      open: false,
      reason: 'the workers were not started: control-plane nodes cp-2 are out; see kubectl get nodes',
    });
  });

  it('an API server that does not say to us whether it is ready is judged by its database, and that is remarked', async () => {
    const away = new KubeError('etcdserver: leader changed', {
      verb: 'get',
      path: '/',
      reason: 'Error',
      retryable: true,
    });
    const now = atTheBarrier({ trouble: forbidden(), database: away });
    await elapse(10 * SECOND);
    expect(now.answer).toBeUndefined();
    now.database = undefined;
    await elapse(2 * SECOND);
    expect(now.answer).toEqual({
      open: true,
      remark:
        'ServiceAccount kairos-system/kairos-worker may not get /readyz, so whether the API server is ready is told by a read that its database answers: apply deploy/operator/worker-rbac.yaml, or upgrade the chart, for the right to ask',
    });
  });

  it('what the API server lacks is named at the deadline', async () => {
    const now = atTheBarrier({ trouble: notReady() });
    await elapse(60 * MINUTE);
    expect(now.answer).toEqual({
      open: false,
      reason:
        "the workers were not started: the API server is not ready: get /readyz: 500 [-]etcd failed; see kubectl get --raw '/readyz?verbose'",
    });
  });
});
