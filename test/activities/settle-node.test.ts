import { describe, expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { settleNode } from '../../activities/end.ts';
import type { RolloutRequest } from '../../api/messages.ts';
import type { KairosNodeStatus } from '../../api/types.ts';
import type { KubeRequest } from '../../kube/client.ts';
import { HAND } from './step-world.ts';

const IN_HAND: NonNullable<KairosNodeStatus['inHand']> = {
  rollout: 'rollout/another',
  request: { kind: 'NodeOpUpgrade', namespace: 'n', name: 'another', uid: 'u2', generation: 1, attempt: 1 },
  image: 'i',
  version: 'v',
  bootID: 'b1',
  startedAt: '2026-03-01T10:00:00Z',
};

/** What is written to the KairosNode when a pull has failed on it. */
async function written(kind: RolloutRequest['kind'], owner: string | undefined, status: KairosNodeStatus) {
  const writes: unknown[] = [];
  const view = {
    ref: HAND.cluster,
    nodes: { get: () => ({ uid: HAND.node.uid, ...(owner === undefined ? {} : { owner }) }) },
    kairosNodes: { get: () => ({ generation: 3, status }) },
    client: {
      request: (request: KubeRequest) => {
        writes.push(request.body);
        return Promise.resolve({ metadata: { name: HAND.node.name, uid: 'k', resourceVersion: '1' } });
      },
    },
  } as unknown as ClusterView;
  const { cluster, rolloutID, request, spec, node } = HAND;
  await settleNode(view, {
    cluster,
    rolloutID,
    spec,
    node,
    request: { ...request, kind },
    verdict: 'Failed',
    message: 'no such image',
  });
  return writes;
}

describe('an attempt that never touched its node', () => {
  it('is recorded, with what to read', async () => {
    expect(await written('NodeOpUpgrade', undefined, {})).toMatchObject([
      { status: { upgradeState: 'Failed', message: 'Failed: no such image', lastAttempt: { verdict: 'Failed' } } },
    ]);
  });

  it('keeps nothing of the attempt before', async () => {
    const cleared = { bootID: null, startedAt: null, evidence: null, steps: null, notReadyBefore: null };
    expect(await written('NodeOpUpgrade', undefined, {})).toMatchObject([{ status: { lastAttempt: cleared } }]);
  });

  it.each<[string, string | undefined, KairosNodeStatus]>([
    ['that another rollout has in hand', 'node/kairos-c/uid', { inHand: IN_HAND, step: 'Upgrade' }],
    ['of which only the KairosNode says so yet', undefined, { inHand: IN_HAND }],
    ['that is held', 'held:UpgradeFailed', {}],
  ])('takes nothing from a node %s', async (_, owner, status) => {
    expect(await written('NodeOpUpgrade', owner, status)).toEqual([]);
  });

  it('settles what a person asked for, and leaves what is in hand', async () => {
    const [body] = await written('KairosNode', 'node/kairos-c/uid', { inHand: IN_HAND, step: 'Upgrade' });
    expect(body).toMatchObject({ status: { lastAttempt: { verdict: 'Failed', specGeneration: 3 } } });
    expect((body as { status: object }).status).not.toHaveProperty('inHand');
    expect((body as { status: object }).status).not.toHaveProperty('step');
  });
});
