import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { CancelledFailure } from '@temporalio/common';
import { nodes, startRig, until, type Rig } from './rig.ts';
import { Gate, targetOf, type Script } from './stubs.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(20_000);

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
}, 60_000);

afterAll(async () => {
  await rig?.stop();
}, 30_000);

/** What was written into the resource last: it must be final, and written once. */
function finalReport(script: Script) {
  const reports = script.inputs('reportRollout');
  expect(reports.filter(({ final }) => final)).toHaveLength(1);
  return reports.at(-1)?.status;
}

async function expectCanceled(handle: WorkflowHandle): Promise<void> {
  const error = await handle.result().catch((failure: unknown) => failure);
  expect(error).toBeInstanceOf(WorkflowFailedError);
  expect((error as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
  expect((await handle.describe()).status.name).toBe('CANCELLED');
}

describe('a rollout', () => {
  it('takes the control plane first, then the barrier, then the workers', async () => {
    const { handle, script } = await rig.startRollout({
      plan: { controlPlane: nodes(2, 'cp'), workers: nodes(3), maxUnavailable: 2 },
    });
    expect(await handle.result()).toEqual({
      phase: 'Completed',
      message: '5 of 5 nodes run v2',
      verdicts: { Succeeded: 5 },
    });
    const order = script.calls.map(({ activity, node }) => `${activity} ${node ?? ''}`.trim());
    expect(order.indexOf('endNode cp-1')).toBeLessThan(order.indexOf('checkGates cp-2'));
    expect(order.indexOf('endNode cp-2')).toBeLessThan(order.indexOf('waitForControlPlane'));
    expect(order.indexOf('waitForControlPlane')).toBeLessThan(order.indexOf('checkGates w-1'));
    expect(finalReport(script)).toMatchObject({ phase: 'Completed', total: 5, version: 'v2', failed: [] });
  });

  it('keeps the order of the control plane, whichever node pulls faster', async () => {
    const slow = new Gate();
    const { handle, script } = await rig.startRollout({
      plan: { controlPlane: nodes(3, 'cp') },
      spec: { prePullAhead: 2 },
      answers: {
        prePullImage: async ({ node, spec }) => {
          if (node.name === 'cp-1') await slow.wait();
          return targetOf(spec.image);
        },
      },
    });
    await until('cp-2 pulled', () => script.nodes('prePullImage').includes('cp-2'));
    await new Promise((resolve) => setTimeout(resolve, 300));
    slow.open();
    await handle.result();
    expect(script.ends()).toEqual(['cp-1 Succeeded', 'cp-2 Succeeded', 'cp-3 Succeeded']);
  });

  it('ends at once when its request is outdated', async () => {
    const { handle, script } = await rig.startRollout({
      answers: { confirmRequest: () => ({ current: false, reason: 'NodeOpUpgrade default/x is gone' }) },
    });
    expect(await handle.result()).toMatchObject({ phase: 'Cancelled', message: 'NodeOpUpgrade default/x is gone' });
    expect(script.nodes('planRollout')).toEqual([]);
  });

  it('that finds no node to upgrade says why', async () => {
    const { handle, script } = await rig.startRollout({
      plan: { leftAlone: [{ name: 'w-1', reason: 'its agent has not reported' }] },
    });
    await handle.result();
    expect(finalReport(script)).toMatchObject({
      phase: 'Failed',
      message: 'no node to upgrade: w-1: its agent has not reported',
    });
  });

  it('stops before any worker when a control-plane node failed', async () => {
    const { handle, script } = await rig.startRollout({
      plan: { controlPlane: nodes(2, 'cp'), workers: nodes(2) },
      spec: { stopOnFailure: false },
      answers: { verifyNode: () => ({ verdict: 'RolledBack', message: 'fell back to v1', bootID: 'boot-3' }) },
    });
    expect(await handle.result()).toMatchObject({ phase: 'Failed', verdicts: { RolledBack: 1 } });
    expect(script.nodes('checkGates')).toEqual(['cp-1']);
    expect(finalReport(script)).toMatchObject({
      phase: 'Failed',
      message: 'stopped: node cp-1 ended as RolledBack: fell back to v1; 3 nodes were not touched',
      failed: [{ name: 'cp-1', verdict: 'RolledBack' }],
    });
  });

  it('fails when the barrier behind the control plane does not open', async () => {
    const { handle, script } = await rig.startRollout({
      plan: { controlPlane: nodes(1, 'cp'), workers: nodes(2) },
      answers: { waitForControlPlane: () => ({ open: false, reason: 'control-plane nodes cp-9 are out' }) },
    });
    expect(await handle.result()).toMatchObject({ phase: 'Failed', message: 'control-plane nodes cp-9 are out' });
    expect(script.ends()).toEqual(['cp-1 Succeeded']);
    expect(finalReport(script)).toMatchObject({ phase: 'Failed' });
  });

  it('that went on after failures ends as Failed and names the nodes', async () => {
    const { handle, script } = await rig.startRollout({
      plan: { workers: nodes(2) },
      spec: { stopOnFailure: false },
      answers: {
        drainNode: ({ node }) =>
          node.name === 'w-1' ? { outcome: 'Failed', message: 'held' } : { outcome: 'Drained' },
      },
    });
    await handle.result();
    expect(finalReport(script)).toMatchObject({
      phase: 'Failed',
      message: '1 of 2 nodes did not reach the target: w-1 (Failed)',
      verdicts: { Failed: 1, Succeeded: 1 },
    });
  });

  it('starts nothing new while paused, finishes what it has in hand, and goes on when resumed', async () => {
    const slow = new Gate();
    const { handle, script } = await rig.startRollout({
      plan: { workers: nodes(3) },
      spec: { prePullAhead: 1 },
      answers: {
        drainNode: async ({ node }) => {
          if (node.name === 'w-1') await slow.wait();
          return { outcome: 'Drained' };
        },
      },
    });
    await until('w-1 drains', () => script.nodes('drainNode').length === 1);
    await handle.signal('pause', { reason: 'lunch' });
    expect(await handle.query('state')).toMatchObject({
      phase: 'Running',
      wave: 'workers',
      paused: { by: 'temporal', reason: 'lunch' },
    });
    slow.open();
    await until('w-1 has ended', () => script.ends().length === 1);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(script.nodes('checkGates')).toEqual(['w-1']);
    await handle.signal('resume');
    expect(await handle.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
  });

  it('paused while it plans starts no node of its first wave', async () => {
    const planned = new Gate();
    const workers = nodes(1);
    const { handle, script } = await rig.startRollout({
      answers: {
        planRollout: () => planned.wait().then(() => ({ controlPlane: [], workers, leftAlone: [], maxUnavailable: 1 })),
      },
    });
    await until('it plans', () => script.nodes('planRollout').length === 1);
    await handle.signal('pause', {});
    planned.open();
    await until('the wave runs', async () => (await handle.query<{ wave?: string }>('state')).wave === 'workers');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(script.nodes('checkGates')).toEqual([]);
    await handle.signal('resume', {});
    expect(await handle.result()).toMatchObject({ phase: 'Completed' });
  });
});

describe('a cancelled rollout', () => {
  it('gives back the nodes whose image is not touched and leaves the others alone', async () => {
    const never = new Gate();
    const { handle, script, ...started } = await rig.startRollout({
      plan: { workers: nodes(5), maxUnavailable: 2 },
      spec: { prePullAhead: 1 },
      answers: { drainNode: () => never.wait().then(() => ({ outcome: 'Drained' })) },
    });
    await until('two drain', () => script.nodes('drainNode').length === 2);
    await handle.cancel();
    await expectCanceled(handle);
    expect(script.ends().sort()).toEqual(['w-1 Cancelled', 'w-2 Cancelled']);
    expect(script.nodes('checkGates')).toHaveLength(2);
    expect(script.nodes('writeImage')).toEqual([]);
    expect((await rig.waveOf(started, 'workers').describe()).status.name).not.toBe('RUNNING');
    expect(finalReport(script)).toMatchObject({
      phase: 'Cancelled',
      message: 'cancelled: nodes that were not touched stay as they are',
      verdicts: { Cancelled: 2 },
    });
  });

  it('takes a node whose image is being written to its verdict, and keeps it', async () => {
    const writing = new Gate();
    const { handle, script } = await rig.startRollout({
      plan: { workers: nodes(3) },
      spec: { prePullAhead: 1 },
      answers: { writeImage: () => writing.wait().then(() => ({ outcome: 'Written' })) },
    });
    await until('w-1 is being written', () => script.nodes('writeImage').length === 1);
    await handle.cancel();
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect((await handle.describe()).status.name).toBe('RUNNING');
    expect(script.inputs('reportRollout').at(-1)?.status.phase).toBe('Cancelling');
    writing.open();
    await expectCanceled(handle);
    expect(script.ends()).toEqual(['w-1 Succeeded']);
    expect(script.nodes('checkGates')).toEqual(['w-1']);
    expect(finalReport(script)).toMatchObject({ phase: 'Cancelled', verdicts: { Succeeded: 1 }, version: 'v2' });
  });

  it('keeps the failure of a node that was past the point of no return', async () => {
    const writing = new Gate();
    const { handle, script } = await rig.startRollout({
      plan: { controlPlane: nodes(1, 'cp'), workers: nodes(1) },
      answers: {
        writeImage: () => writing.wait().then(() => ({ outcome: 'Failed', message: 'no space left' })),
      },
    });
    await until('cp-1 is being written', () => script.nodes('writeImage').length === 1);
    await handle.cancel();
    writing.open();
    await expectCanceled(handle);
    expect(finalReport(script)).toMatchObject({
      phase: 'Cancelled',
      verdicts: { UpgradeFailed: 1 },
      failed: [{ name: 'cp-1', verdict: 'UpgradeFailed', message: 'no space left' }],
    });
  });

  it('ends while its images are pulled, after the last pull has ended', async () => {
    const never = new Gate();
    const order: string[] = [];
    const { handle, script } = await rig.startRollout({
      plan: { workers: nodes(3) },
      answers: {
        prePullImage: async ({ spec }) => {
          try {
            await never.wait();
          } finally {
            await new Promise((resolve) => setTimeout(resolve, 400));
            order.push('pull ended');
          }
          return targetOf(spec.image);
        },
        reportRollout: ({ status }) => {
          order.push(status.phase);
        },
      },
    });
    await until('pulls run', () => script.nodes('prePullImage').length >= 2);
    await handle.cancel();
    await expectCanceled(handle);
    expect(order.slice(-3)).toEqual(['pull ended', 'pull ended', 'Cancelled']);
    expect(finalReport(script)).toMatchObject({ phase: 'Cancelled', verdicts: {} });
  });

  it('ends while it is paused, and while it plans', async () => {
    const never = new Gate();
    const paused = await rig.startRollout({ plan: { workers: nodes(2) } });
    await paused.handle.signal('pause', {});
    const planning = await rig.startRollout({
      answers: { planRollout: () => never.wait().then(() => Promise.reject(new Error('never'))) },
    });
    await until('it plans', () => planning.script.nodes('planRollout').length === 1);
    for (const { handle, script } of [paused, planning]) {
      await handle.cancel();
      await expectCanceled(handle);
      expect(finalReport(script)).toMatchObject({ phase: 'Cancelled', verdicts: {} });
      expect(script.nodes('checkGates')).toEqual([]);
    }
  });
});

describe('a rollout whose history is long', () => {
  it('goes on in another run, which has its memo, its task timeout and what was asked of it', async () => {
    const [canary, rest] = [nodes(1), nodes(2)];
    const soaking = new Gate();
    const started = await rig.startRollout({
      timing: { continueAfterEvents: 10 },
      memo: { uid: 'uid-of-the-resource', generation: 3 },
      plan: {
        waves: [
          { name: 'canary', group: 'worker', nodes: canary, budget: 1, soakMs: 60_000, maxFailed: 0 },
          { name: 'workers', group: 'worker', nodes: rest, budget: 2, maxFailed: 0 },
        ],
      },
      answers: { soakWave: () => soaking.wait().then(() => ({ open: true })) },
    });
    const { handle, script } = started;
    await until('the canary soaks', () => script.inputs('soakWave').length === 1);
    await handle.executeUpdate('pause', { args: [{ reason: 'weekend' }] });
    soaking.open();
    const first = await handle.describe();
    await until('another run goes on', async () => (await handle.describe()).runId !== first.runId);
    await until('it is paused', () => script.inputs('reportRollout').at(-1)?.status.wave === 'workers');
    expect(script.inputs('reportRollout').at(-1)?.status).toMatchObject({
      phase: 'Paused',
      total: 3,
      verdicts: { Succeeded: 1 },
      paused: { by: 'temporal', reason: 'weekend' },
    });
    const now = await handle.describe();
    expect(now.memo).toEqual({ uid: 'uid-of-the-resource', generation: 3 });
    expect(now.raw.executionConfig?.defaultWorkflowTaskTimeout).toEqual(
      first.raw.executionConfig?.defaultWorkflowTaskTimeout,
    );
    expect(script.nodes('checkGates')).toHaveLength(1);
    await handle.executeUpdate('resume', { args: [{}] });
    expect(await handle.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
    expect(finalReport(script)).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
    expect(script.inputs('planRollout')).toHaveLength(1);
  });
});

describe('a wave that is too large for one workflow', () => {
  it('goes on in others, under one budget, and is cancelled as one', async () => {
    const members = nodes(5);
    const writing = new Gate();
    const started = await rig.startRollout({
      plan: { waves: [{ name: 'workers', group: 'worker', nodes: members, budget: 2, segment: 2, maxFailed: 0 }] },
      answers: {
        writeImage: async ({ hand }) => {
          if (hand.node.name === 'w-3') await writing.wait();
          return { outcome: 'Written' };
        },
      },
    });
    const { handle, script } = started;
    await until('the first part has begun', () => script.nodes('writeImage').length > 0);
    await until('the second part writes', () => script.nodes('writeImage').includes('w-3'));
    await handle.cancel();
    writing.open();
    await expectCanceled(handle);
    const { verdicts = {} } = finalReport(script) ?? {};
    expect(verdicts['Succeeded']).toBeGreaterThanOrEqual(2);
    for (const part of ['workers', 'workers.part-2'])
      expect((await rig.waveOf(started, part).describe()).status.name).toBe('COMPLETED');
  }, 60_000);
});
