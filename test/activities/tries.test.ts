import { describe, expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { checkGates } from '../../activities/gates.ts';
import type { NodeUpgradeInput } from '../../api/messages.ts';
import type { KairosNodeStatus, Verdict } from '../../api/types.ts';
import { timingFor } from '../../policy/strategy.ts';
import { HAND } from './step-world.ts';

const { cluster, rolloutID, request, spec, node, place, target } = HAND;
const INPUT: NodeUpgradeInput = { cluster, rolloutID, request, spec, node, place, target, timing: timingFor(1, false) };
const asTry = (number: number | undefined, more: Partial<NodeUpgradeInput> = {}): NodeUpgradeInput => ({
  ...INPUT,
  ...more,
  request: { ...request, ...(number === undefined ? {} : { try: number }) },
});

/** A node that ended like this in the first try of the attempt, and still is in the boot of then. */
function view(verdict: Verdict, owner?: string): ClusterView {
  const { kind, namespace, name, uid, generation, attempt } = request;
  const status: KairosNodeStatus = {
    bootID: 'boot-1',
    lastAttempt: {
      rollout: rolloutID,
      request: { kind, namespace, name, uid, generation, attempt },
      specGeneration: 1,
      image: target.image,
      version: target.version,
      bootID: 'boot-1',
      verdict,
      message: 'as it was',
      finishedAt: '2026-03-01T10:00:00Z',
    },
  };
  const seen = { name: node.name, uid: node.uid, bootID: 'boot-1', ready: true, unschedulable: false, pressures: [] };
  return {
    ref: cluster,
    nodes: { get: () => ({ ...seen, ...(owner === undefined ? {} : { owner }) }) },
    kairosNodes: { get: () => ({ name: node.name, status }) },
    client: { request: () => Promise.resolve({ metadata: { name: node.name }, status }) },
  } as unknown as ClusterView;
}

describe('a node that has ended in the first try of an attempt', () => {
  it('is done for that try, and not for the next one', async () => {
    const recover = { recover: true };
    expect(await checkGates(view('Failed'), asTry(undefined, recover))).toMatchObject({
      answer: 'Done',
      verdict: 'Failed',
      recorded: true,
    });
    expect(await checkGates(view('Failed'), asTry(1, recover))).toMatchObject({ answer: 'Wait' });
  });

  it.each(['UpgradeFailed', 'NeverRebooted', 'Unverified', 'Lost'] as const)(
    'as %s, in the boot that it still is in, is rebooted and judged before the next try writes to it',
    async (verdict) => {
      const held = view(verdict, `held:${verdict}`);
      expect(await checkGates(held, asTry(undefined))).toMatchObject({ answer: 'Done', verdict });
      expect(await checkGates(held, asTry(1))).toMatchObject({
        answer: 'Recover',
        leftover: { resume: 'reboot', sameAttempt: false, hand: { bootID: 'boot-1' } },
      });
    },
  );
});
