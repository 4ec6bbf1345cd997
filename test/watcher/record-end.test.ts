import { expect, it } from '@jest/globals';
import type { Asked } from '../../api/control-messages.ts';
import type { KubeRequest } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import type { NodeOpUpgrade, PastAttempt, RolloutStatus } from '../../api/types.ts';
import type { EngineState } from '../../policy/engine.ts';
import { reconcileUpgrade } from '../../watcher/upgrades.ts';
import { UPGRADE_ID, watcher } from './table-rig.ts';

const running: RolloutStatus = {
  workflowID: UPGRADE_ID,
  generation: 2,
  attempt: 3,
  phase: 'Running',
  image: 'i',
  version: 'v4.0.3',
  total: 9,
  verdicts: { Succeeded: 4 },
  startedAt: '2026-03-01T10:00:00Z',
  paused: { by: 'kubectl', reason: 'disk alarm', since: '2026-03-01T10:30:00Z' },
};
const earlier: PastAttempt = { attempt: 2, generation: 1, phase: 'Completed' };
const TERMINATED: EngineState = { state: 'Terminated', memo: { uid: 'u', generation: 2, attempt: 3 } };

/** What the watcher writes into the status of a NodeOpUpgrade whose workflow ended like this. */
async function written(
  rollout: RolloutStatus,
  engine: EngineState,
  terminated?: Asked,
  conflicts = false,
): Promise<Record<string, unknown>> {
  const upgrade: NodeOpUpgrade = {
    apiVersion: 'operator.kairos.io/v1alpha1',
    kind: 'NodeOpUpgrade',
    metadata: { namespace: 'fleet', name: 'v4', uid: 'u', generation: 2, resourceVersion: '7' },
    spec: { image: 'i' },
    status: { rollout, history: [earlier] },
  };
  let status: Record<string, unknown> = {};
  const answer = ({ verb, body }: KubeRequest) => {
    if (verb !== 'merge-patch') return upgrade;
    const patch = body as { metadata: object; status: typeof status };
    expect(patch.metadata).toEqual({ uid: 'u', resourceVersion: '7' });
    if (conflicts) throw new KubeError('changed', { verb, path: '', code: 409, reason: 'Conflict', retryable: false });
    status = patch.status;
    return upgrade;
  };
  const { context } = watcher(engine, answer, undefined, terminated);
  await reconcileUpgrade(context, 'fleet/v4', { again: () => undefined, ask: () => undefined });
  return status;
}

it('an attempt whose workflow was terminated is remembered with what it had counted, before the earlier ones', async () => {
  expect(await written(running, TERMINATED)).toMatchObject({
    rollout: { attempt: 3, phase: 'Failed', paused: null },
    history: [
      {
        attempt: 3,
        generation: 2,
        phase: 'Failed',
        message: expect.stringMatching(/^Terminated: /),
        version: 'v4.0.3',
        total: 9,
        verdicts: { Succeeded: 4 },
        startedAt: running.startedAt,
        finishedAt: expect.any(String),
        paused: 'kubectl: disk alarm',
      },
      earlier,
    ],
  });
});

it('an attempt whose workflow was terminated is remembered with who did that and why, where Temporal can tell', async () => {
  const by = {
    by: 'temporal',
    who: 'temporal-cli:ana@desk',
    reason: 'wrong image',
    at: '2026-03-01T11:00:00Z',
  } as const;
  expect(await written(running, TERMINATED, by)).toMatchObject({
    rollout: { endedBy: by },
    history: [{ attempt: 3, endedBy: by }, earlier],
  });
});

it('one that had not begun to report is remembered without what the one before it had counted', async () => {
  const { history } = await written({ ...running, generation: 1, attempt: 2, phase: 'Completed' }, TERMINATED);
  const [past] = history as PastAttempt[];
  expect(past).toMatchObject({ attempt: 3, generation: 2, phase: 'Failed' });
  expect(past).not.toHaveProperty('verdicts');
  expect(past).not.toHaveProperty('startedAt');
});

it('nothing of what it waited for stays, and an end that the rollout has written meanwhile does', async () => {
  const waiting = { ...running, approval: { wave: 'rest', since: '2026-03-01T10:00:00Z' } };
  expect(await written(waiting, TERMINATED)).toMatchObject({
    rollout: { approval: null, nextWindow: null, soakUntil: null },
  });
  expect(await written(running, { ...TERMINATED, state: 'Completed' }, undefined, true)).toEqual({});
});
