import { describe, expect, it } from '@jest/globals';
import type { KubeClient } from '../../kube/client.ts';
import { type KubeError, errorFromAnswer, timedOut } from '../../kube/errors.ts';
import { evictPod } from '../../kube/eviction.ts';
import { status } from './fake-api-server.ts';

const budget = (name: string) => ({
  reason: 'DisruptionBudget',
  message: `The disruption budget ${name} needs 1 healthy pods and has 1 currently`,
});

describe('an eviction', () => {
  const evict = (code: number, body: unknown) => {
    const client = {
      request: ({ verb, path }: { verb: string; path: string }) =>
        code < 400 ? Promise.resolve({}) : Promise.reject(errorFromAnswer({ verb, path }, { code, body })),
    } as unknown as KubeClient;
    return evictPod(client, { namespace: 'db', name: 'pg-0', uid: 'u' });
  };

  it.each([
    ['accepted', 201, {}, { outcome: 'Evicted' }],
    ['no such pod', 404, status(404, 'NotFound', 'pods "pg-0" not found'), { outcome: 'Gone' }],
    [
      'another pod of that name',
      409,
      status(409, 'Conflict', 'Precondition failed: UID in precondition: u, UID in object meta: v'),
      { outcome: 'Gone' },
    ],
    [
      'held by a budget',
      429,
      status(429, 'TooManyRequests', 'Cannot evict pod', { causes: [budget('pg')], retryAfterSeconds: 10 }),
      { outcome: 'Blocked', retryAfterMs: 10_000, budgets: ['pg'] },
    ],
    [
      'two budgets',
      500,
      status(
        500,
        'InternalError',
        'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
      ),
      { outcome: 'Refused' },
    ],
    [
      'a namespace that goes',
      403,
      status(403, 'Forbidden', 'being terminated', { causes: [{ reason: 'NamespaceTerminating', message: 'x' }] }),
      { outcome: 'Blocked', budgets: [] },
    ],
    ['no permission', 403, status(403, 'Forbidden', 'denied by policy'), { outcome: 'Refused' }],
  ])('%s', async (_, code, body, expected) => {
    expect(await evict(code, body)).toMatchObject(expected);
  });

  it('names pod and budget where it is blocked', async () => {
    const body = status(429, 'TooManyRequests', 'Cannot evict pod', { causes: [budget('pg')] });
    expect(await evict(429, body)).toMatchObject({
      message: expect.stringMatching(/^pod db\/pg-0 is held by PodDisruptionBudget pg: .*needs 1 healthy/),
    });
  });

  it.each([
    ['another pod has its name', { metadata: { uid: 'v' } }, { outcome: 'Gone' }],
    ['it is gone', undefined, { outcome: 'Gone' }],
    ['it is still there', { metadata: { uid: 'u' } }, 'Timeout'],
  ])('without an answer is decided by the pod: %s', async (_, pod, expected) => {
    const request = ({ verb, path }: { verb: string; path: string }) => {
      if (verb === 'create') return Promise.reject(timedOut({ verb, path }, 8000));
      expect(path).toBe('/api/v1/namespaces/db/pods/pg-0');
      const missing = { code: 404, body: status(404, 'NotFound', 'pods "pg-0" not found') };
      return pod === undefined ? Promise.reject(errorFromAnswer({ verb, path }, missing)) : Promise.resolve(pod);
    };
    const client = { request } as unknown as KubeClient;
    const answer = evictPod(client, { namespace: 'db', name: 'pg-0', uid: 'u' });
    expect(await answer.catch((error: KubeError) => error.reason)).toEqual(expected);
  });

  it('is not decided by an overloaded API server', async () => {
    const flood = evict(429, status(429, 'TooManyRequests', 'the server has received too many requests'));
    await expect(flood).rejects.toMatchObject({ reason: 'TooManyRequests', retryable: true });
    await expect(evict(503, 'starting')).rejects.toMatchObject({ reason: 'ServiceUnavailable', retryable: true });
  });
});
