import { describe, expect, it } from '@jest/globals';
import type { Blocker } from '../../api/types.ts';
import { type BlockedPod, type BudgetState, blockersText, heldByBudget } from '../../policy/drain-blockers.ts';

const POD: BlockedPod = { namespace: 'db', name: 'pg-0', ready: true, labels: {} };
const CLOSED: BudgetState = { disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1 };

describe('a pod that a budget holds', () => {
  it.each<[string, BlockedPod, BudgetState | undefined, object]>([
    [
      'the budget, what it allows and what it needs',
      POD,
      CLOSED,
      {
        reason: 'Budget',
        budget: 'db/pg',
        disruptionsAllowed: 0,
        message: 'held by PodDisruptionBudget pg, which allows 0 disruptions (1 healthy, 1 needed)',
      },
    ],
    [
      'the budget alone, where it cannot be read',
      POD,
      undefined,
      { reason: 'Budget', budget: 'db/pg', message: 'held by PodDisruptionBudget pg' },
    ],
    [
      'the way out for a pod that serves nobody',
      { ...POD, ready: false },
      CLOSED,
      { message: expect.stringContaining('unhealthyPodEvictionPolicy: AlwaysAllow in the budget it could go') },
    ],
    [
      'what is behind the budget of Longhorn',
      { ...POD, labels: { 'longhorn.io/component': 'instance-manager' } },
      CLOSED,
      { message: expect.stringContaining('node-drain-policy') },
    ],
    [
      'what is behind the budget of Ceph',
      { ...POD, labels: { app: 'rook-ceph-osd' } },
      CLOSED,
      { message: expect.stringContaining('ceph status') },
    ],
  ])('tells %s', (_, pod, state, expected) => {
    expect(heldByBudget(pod, 'pg', state)).toMatchObject(expected);
  });

  it.each<[string, BlockedPod, BudgetState]>([
    ['Ready', POD, CLOSED],
    [
      'not Ready, of a budget that lets it go',
      { ...POD, ready: false },
      { ...CLOSED, unhealthyPodEvictionPolicy: 'AlwaysAllow' },
    ],
  ])('proposes no other policy for a pod that is %s', (_, pod, state) => {
    expect(heldByBudget(pod, 'pg', state).message).not.toContain('unhealthyPodEvictionPolicy');
  });
});

describe('the text of a drain', () => {
  const blocker = (pod: string, reason: Blocker['reason'] = 'Budget'): Blocker => ({
    pod,
    reason,
    message: 'held by PodDisruptionBudget pg',
    since: '2026-03-01T10:00:00Z',
  });

  it.each<[string, Blocker[], number, string]>([
    ['nothing', [], 0, 'moving its pods to other nodes'],
    [
      'one',
      [blocker('db/pg-0')],
      1,
      'pod db/pg-0 is held by PodDisruptionBudget pg (since 2026-03-01T10:00:00Z); asking again',
    ],
    [
      'many',
      [blocker('db/pg-0'), blocker('db/pg-1')],
      30,
      'pod db/pg-0 is held by PodDisruptionBudget pg (since 2026-03-01T10:00:00Z); 29 more, see status.blockers; asking again',
    ],
  ])('with %s', (_, blockers, count, expected) => {
    expect(blockersText(blockers, count)).toBe(expected);
  });

  it('names a claim as one', () => {
    expect(blockersText([blocker('db/data', 'VolumeAttached')], 1)).toMatch(/^claim db\/data is .*; waiting$/);
  });
});
