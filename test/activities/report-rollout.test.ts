import { expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { confirmRequest, reportRollout } from '../../activities/report.ts';
import type { RolloutContext } from '../../api/messages.ts';
import { rolloutStatus } from '../../api/schemas/node-op-upgrade.ts';
import type { NodeOpUpgradeStatus, PastAttempt, RolloutStatus } from '../../api/types.ts';
import { resolveSpec } from '../../policy/strategy.ts';

const contextOf = (attempt: number): RolloutContext => ({
  cluster: { uid: 'c', id: 'kairos-c' },
  rolloutID: 'rollout/kairos-c/ns/v4',
  request: { kind: 'NodeOpUpgrade', namespace: 'ns', name: 'v4', uid: 'u', generation: 2, attempt },
  spec: resolveSpec({ image: 'i' }),
});
const rollout = (more: Partial<RolloutStatus>): RolloutStatus => ({
  workflowID: 'rollout/kairos-c/ns/v4',
  generation: 2,
  attempt: 1,
  phase: 'Running',
  startedAt: '2026-03-01T10:00:00Z',
  ...more,
});

/** A NodeOpUpgrade with this status, and what is written into it. */
function resource(status: NodeOpUpgradeStatus) {
  const patches: Record<string, unknown>[] = [];
  const request = ({ verb, body }: { verb: string; body?: { status: Record<string, unknown> } }) => {
    if (verb === 'merge-patch' && body !== undefined) patches.push(body.status);
    return Promise.resolve({ metadata: { uid: 'u', generation: 2 }, spec: {}, status });
  };
  const node = (name: string, creationTimestamp: string) => [name, { name, creationTimestamp }] as const;
  const nodes = new Map([node('n-1', '2026-02-01T10:00:00Z'), node('n-2', '2026-02-02T10:00:00Z')]);
  const view = {
    client: { request },
    ref: { uid: 'c', id: 'kairos-c' },
    pods: new Map(),
    nodes,
  } as unknown as ClusterView;
  return { view, patches };
}
const past = (attempt: number, phase: PastAttempt['phase'] = 'Completed'): PastAttempt => ({
  attempt,
  generation: 2,
  phase,
});

it('the end of a rollout goes into its status and its history by one request, with its beginning', async () => {
  const { view, patches } = resource({ rollout: rollout({ attempt: 2 }), history: [past(1)] });
  const { startedAt: _, ...status } = rollout({ attempt: 2, phase: 'Failed', verdicts: { Lost: 1 } });
  const report = { context: contextOf(2), status, final: true };
  await reportRollout(view, report);
  expect(patches).toEqual([
    {
      rollout: expect.objectContaining({ phase: 'Failed', finishedAt: expect.any(String) }),
      history: [expect.objectContaining({ attempt: 2, phase: 'Failed', startedAt: '2026-03-01T10:00:00Z' }), past(1)],
    },
  ]);
  await reportRollout(view, report);
  expect(patches[1]?.['history']).toHaveLength(2);
});

it('what is under way is not in the history yet', async () => {
  const { view, patches } = resource({});
  await reportRollout(view, { context: contextOf(1), status: rollout({}), final: false });
  expect(patches[0]).not.toHaveProperty('history');
});

it('an attempt that begins clears plan and rollout of the one before, which the history has', async () => {
  const { view, patches } = resource({ rollout: rollout({ phase: 'Failed' }), history: [past(1, 'Failed')] });
  expect(await confirmRequest(view, contextOf(2))).toMatchObject({ current: true });
  expect(patches).toEqual([{ rollout: null, plan: null }]);
});

it('an attempt whose end was never written is remembered before it is cleared', async () => {
  const { view, patches } = resource({ rollout: rollout({ verdicts: { Succeeded: 2 } }) });
  await confirmRequest(view, contextOf(2));
  expect(patches[0]).toMatchObject({
    rollout: null,
    history: [{ attempt: 1, phase: 'Failed', message: expect.stringContaining('its end is not known') }],
  });
});

it('a node whose message is longer than the resource holds does not keep its rollout from ending', async () => {
  const { view, patches } = resource({});
  const drained = 'pod longhorn-system/instance-manager is held by PodDisruptionBudget instance-manager; '.repeat(30);
  const failed = [
    { name: 'worker-1', verdict: 'Failed' as const, message: drained },
    { name: 'worker-2', verdict: 'Lost' as const },
  ];
  const status = rollout({ phase: 'Failed', message: `stopped: node worker-1: ${drained.repeat(3)}`, failed });
  await reportRollout(view, { context: contextOf(1), status, final: true });
  const written = patches[0]?.['rollout'] as RolloutStatus;
  expect(rolloutStatus.pick({ failed: true, message: true }).safeParse(written).error).toBeUndefined();
  expect(written.failed).toEqual([{ ...failed[0], message: drained.slice(0, 1024) }, failed[1]]);
});

it('an attempt that begins says which node was the youngest then, and keeps it when it is begun anew', async () => {
  const begins = { ...rollout({ attempt: 2, phase: 'Planning' }), startedAt: undefined };
  const { view, patches } = resource({ rollout: rollout({ attempt: 1, youngestNode: '2026-01-01T10:00:00Z' }) });
  const context = contextOf(2);
  await reportRollout(view, {
    context: { ...context, spec: { ...context.spec, newNodes: 'Upgrade' } },
    status: begins,
    final: false,
  });
  expect(patches[0]).toMatchObject({ rollout: { youngestNode: '2026-02-02T10:00:00Z', newNodes: 'Upgrade' } });

  const again = resource({ rollout: rollout({ attempt: 2, youngestNode: '2026-01-01T10:00:00Z' }) });
  await reportRollout(again.view, { context, status: begins, final: false });
  expect(again.patches[0]).toMatchObject({
    rollout: { startedAt: '2026-03-01T10:00:00Z', youngestNode: '2026-01-01T10:00:00Z', newNodes: 'Ignore' },
  });
});

it('counts take the place of those before: a node that is tried again is no failure any more', async () => {
  const { view, patches } = resource({ rollout: rollout({ verdicts: { Lost: 1 } }) });
  const status = rollout({ verdicts: { Succeeded: 1 }, verdictsBefore: {} });
  await reportRollout(view, { context: contextOf(1), status, final: false });
  expect(patches[0]).toMatchObject({
    rollout: { verdicts: { Succeeded: 1, Lost: null, RolledBack: null }, verdictsBefore: { Lost: null } },
  });
});
