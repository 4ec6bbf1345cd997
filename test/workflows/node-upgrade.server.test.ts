import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import type { Verdict } from '../../api/types.ts';
import { startRig, until, type Rig, type Wanted } from './rig.ts';
import { Gate } from './stubs.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(20_000);

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
}, 60_000);

afterAll(async () => {
  await rig?.stop();
}, 30_000);

const refuse = (message: string) => () => {
  throw ApplicationFailure.nonRetryable(message, 'Forbidden');
};
const UP_TO_WRITE = ['checkGates', 'markNode', 'cordonNode', 'drainNode', 'writeImage'];
const FULL = [...UP_TO_WRITE, 'rebootNode', 'verifyNode', 'soakNode', 'endNode'];

interface Ending extends Pick<Wanted, 'spec' | 'answers'> {
  name: string;
  verdict: Verdict;
  message: string;
  steps: string[];
}

const ENDINGS: Ending[] = [
  { name: 'goes through every step to Succeeded', verdict: 'Succeeded', message: 'runs v2', steps: FULL },
  {
    name: 'is given back as Failed when its drain failed, and is not written',
    answers: { drainNode: () => ({ outcome: 'Failed', message: 'pod db/pg-0 is held by budget pg' }) },
    verdict: 'Failed',
    message: 'pod db/pg-0 is held by budget pg',
    steps: ['checkGates', 'markNode', 'cordonNode', 'drainNode', 'endNode'],
  },
  {
    name: 'is given back as Failed when its cordon is refused for good',
    answers: { cordonNode: refuse('its spec is held by somebody else') },
    verdict: 'Failed',
    message: 'its spec is held by somebody else; its image was not touched',
    steps: ['checkGates', 'markNode', 'cordonNode', 'endNode'],
  },
  {
    name: 'ends as UpgradeFailed when the image was not written, and is not rebooted',
    answers: { writeImage: () => ({ outcome: 'Failed', message: 'no space left' }) },
    verdict: 'UpgradeFailed',
    message: 'no space left',
    steps: [...UP_TO_WRITE, 'endNode'],
  },
  {
    name: 'ends as Failed when its image provably was not written',
    answers: { writeImage: () => ({ outcome: 'NotWritten', message: 'image not found' }) },
    verdict: 'Failed',
    message: 'image not found',
    steps: [...UP_TO_WRITE, 'endNode'],
  },
  {
    name: 'is verified without a reboot pod when it rebooted by itself',
    answers: { writeImage: () => ({ outcome: 'BootChanged' }) },
    verdict: 'Succeeded',
    message: 'runs v2',
    steps: [...UP_TO_WRITE, 'verifyNode', 'soakNode', 'endNode'],
  },
  {
    name: 'that never rebooted is judged all the same, and not soaked',
    answers: {
      rebootNode: () => ({ outcome: 'NeverRebooted' }),
      verifyNode: () => ({ verdict: 'NeverRebooted', message: 'still boot-1', bootID: 'boot-1' }),
    },
    verdict: 'NeverRebooted',
    message: 'still boot-1',
    steps: [...UP_TO_WRITE, 'rebootNode', 'verifyNode', 'endNode'],
  },
  {
    name: 'ends as RolledBack when it came back on its old image',
    answers: { verifyNode: () => ({ verdict: 'RolledBack', message: 'fell back to v1', bootID: 'boot-3' }) },
    verdict: 'RolledBack',
    message: 'fell back to v1',
    steps: [...UP_TO_WRITE, 'rebootNode', 'verifyNode', 'endNode'],
  },
  {
    name: 'that does not stay Ready ends as Lost',
    answers: { soakNode: () => ({ outcome: 'Unsteady', message: 'did not stay Ready' }) },
    verdict: 'Lost',
    message: 'did not stay Ready',
    steps: FULL,
  },
  {
    name: 'ends as Unverified when a step after the writing is refused for good',
    answers: { verifyNode: refuse('nodes is forbidden') },
    verdict: 'Unverified',
    message: 'nodes is forbidden',
    steps: [...UP_TO_WRITE, 'rebootNode', 'verifyNode', 'endNode'],
  },
  {
    name: 'gets its recovery image alone without a cordon, a drain or a reboot',
    spec: { upgradeActive: false, upgradeRecovery: true },
    verdict: 'Succeeded',
    message: 'its recovery system holds v2 now',
    steps: ['checkGates', 'markNode', 'writeImage', 'endNode'],
  },
  {
    name: 'that runs the target gets the recovery image that was asked for, too',
    spec: { upgradeRecovery: true },
    answers: { checkGates: () => ({ answer: 'Go', bootID: 'boot-1', from: 'v1', recoveryOnly: true }) },
    verdict: 'Succeeded',
    message: 'its recovery system holds v2 now',
    steps: ['checkGates', 'markNode', 'writeImage', 'endNode'],
  },
  {
    name: 'gets its recovery image after the active one was verified',
    spec: { upgradeRecovery: true },
    verdict: 'Succeeded',
    message: 'runs v2; the recovery image is written, too',
    steps: [...FULL.slice(0, -1), 'writeImage', 'endNode'],
  },
  {
    name: 'ends as UpgradeFailed when only its recovery image was not written',
    spec: { upgradeRecovery: true },
    answers: {
      writeImage: ({ step }) =>
        step === 'recovery' ? { outcome: 'Failed', message: 'recovery: no space left' } : { outcome: 'Written' },
    },
    verdict: 'UpgradeFailed',
    message: 'recovery: no space left',
    steps: [...FULL.slice(0, -1), 'writeImage', 'endNode'],
  },
  {
    name: 'does not get a recovery image after a verdict other than Succeeded',
    spec: { upgradeRecovery: true },
    answers: { verifyNode: () => ({ verdict: 'WrongVersion', message: 'runs v3', bootID: 'boot-2' }) },
    verdict: 'WrongVersion',
    message: 'runs v3',
    steps: [...UP_TO_WRITE, 'rebootNode', 'verifyNode', 'endNode'],
  },
];

describe('a node', () => {
  it.each(ENDINGS)('$name', async ({ verdict, message, steps, spec = {}, answers = {} }) => {
    const { handle, script } = await rig.startNode({ spec, answers });
    expect(await handle.result()).toEqual({ node: 'w-1', outcome: 'Ended', verdict, message });
    expect(script.steps('w-1')).toEqual(steps);
    expect(script.inputs('endNode')).toMatchObject([
      { verdict, message, hand: { workflowID: handle.workflowId, from: 'v1', place: { budget: 1 } } },
    ]);
  });

  it('writes its recovery image in the boot that was verified, not in the one that it was taken in', async () => {
    const { handle, script } = await rig.startNode({ spec: { upgradeRecovery: true } });
    await handle.result();
    const written = script.inputs('writeImage').map(({ hand, step }) => `${step} ${hand.bootID}`);
    expect(written).toEqual(['upgrade boot-1', 'recovery boot-2']);
  });

  it('frees its id and touches nothing while a gate says Wait', async () => {
    const { handle, script } = await rig.startNode({
      answers: { checkGates: () => ({ answer: 'Wait', reason: 'node w-1 is not Ready' }) },
    });
    expect(await handle.result()).toEqual({ node: 'w-1', outcome: 'NotStarted', message: 'node w-1 is not Ready' });
    expect(script.steps('w-1')).toEqual(['checkGates']);
  });

  it('frees its id when the budget was full after all', async () => {
    const { handle, script } = await rig.startNode({
      answers: { markNode: () => ({ outcome: 'Full', reason: 'w-9 is out' }) },
    });
    expect(await handle.result()).toEqual({ node: 'w-1', outcome: 'NotStarted', message: 'w-9 is out' });
    expect(script.steps('w-1')).toEqual(['checkGates', 'markNode']);
  });

  it('whose drain would be refused is not touched, and that is recorded', async () => {
    const message = 'node w-1 was not touched, its drain would refuse a pod without a controller: a/b';
    const { handle, script } = await rig.startNode({ answers: { markNode: () => ({ outcome: 'Refused', message }) } });
    expect(await handle.result()).toEqual({ node: 'w-1', outcome: 'Ended', verdict: 'Failed', message });
    expect(script.steps('w-1')).toEqual(['checkGates', 'markNode', 'settleNode']);
    expect(script.inputs('settleNode')).toMatchObject([{ verdict: 'Failed', message }]);
    expect(script.inputs('markNode')).toMatchObject([{ drains: true }]);
  });

  it('that is not drained is marked whatever its pods are', async () => {
    const { handle, script } = await rig.startNode({ spec: { upgradeActive: false, upgradeRecovery: true } });
    await handle.result();
    expect(script.inputs('markNode')[0]).not.toHaveProperty('drains');
  });

  it('that its drain skipped is given back, and stops nobody', async () => {
    const message = 'drain did not end within 2s';
    const { handle, script } = await rig.startNode({ answers: { drainNode: () => ({ outcome: 'Skipped', message }) } });
    expect(await handle.result()).toMatchObject({ outcome: 'Ended', verdict: 'Skipped', message, tolerated: true });
    expect(script.ends()).toEqual(['w-1 Skipped']);
    expect(script.nodes('writeImage')).toEqual([]);
  });

  it('keeps what its drain did to pods until its end', async () => {
    const drain = { outcome: 'PodsDeleted', message: 'deleted past their budgets: db/pg-0' } as const;
    const { handle, script } = await rig.startNode({ answers: { drainNode: () => ({ outcome: 'Drained', drain }) } });
    await handle.result();
    expect(script.inputs('endNode')).toMatchObject([{ verdict: 'Succeeded', hand: { drain } }]);
  });

  it('that rebooted by itself while it was drained is given back, to be tried again', async () => {
    const { handle, script } = await rig.startNode({ answers: { drainNode: () => ({ outcome: 'BootChanged' }) } });
    expect(await handle.result()).toMatchObject({ outcome: 'NotStarted', message: 'node w-1 rebooted by itself' });
    expect(script.ends()).toEqual(['w-1 Cancelled']);
    expect(script.nodes('writeImage')).toEqual([]);
  });

  it.each([
    { kind: 'NodeOpUpgrade' as const, settled: [] },
    { kind: 'KairosNode' as const, settled: [{ verdict: 'AlreadyOnTarget', message: 'runs v2 already' }] },
  ])('that the gates call done is not touched, and settled for a $kind', async ({ kind, settled }) => {
    const { handle, script } = await rig.startNode({
      kind,
      answers: { checkGates: () => ({ answer: 'Done', verdict: 'AlreadyOnTarget', message: 'runs v2 already' }) },
    });
    expect(await handle.result()).toMatchObject({ outcome: 'Ended', verdict: 'AlreadyOnTarget' });
    expect(script.inputs('endNode')).toEqual([]);
    expect(script.inputs('settleNode')).toMatchObject(settled);
    expect(script.inputs('settleNode')).toHaveLength(settled.length);
  });

  it.each(['markNode', 'drainNode'] as const)('cancelled in %s is given back as it was', async (step) => {
    const gate = new Gate();
    const { handle, script } = await rig.startNode({ answers: { [step]: () => gate.wait() } });
    await until(`${step} runs`, () => script.nodes(step).length === 1);
    await handle.cancel();
    const error = await handle.result().catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(WorkflowFailedError);
    expect((error as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(script.ends()).toEqual(['w-1 Cancelled']);
    expect(script.nodes('writeImage')).toEqual([]);
  });

  it('cancelled while a call fails is given back as it was: the failure is not why', async () => {
    const called = Promise.withResolvers<never>();
    const { handle, script } = await rig.startNode({ answers: { cordonNode: () => called.promise } });
    await until('cordonNode runs', () => script.nodes('cordonNode').length === 1);
    await handle.cancel();
    await new Promise((resolve) => setTimeout(resolve, 400));
    called.reject(new Error('the API server does not answer'));
    const error = await handle.result().catch((failure: unknown) => failure);
    expect((error as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(script.ends()).toEqual(['w-1 Cancelled']);
  });

  it('cancelled while its image is written is taken to its verdict, which says so', async () => {
    const gate = new Gate();
    const { handle, script } = await rig.startNode({
      answers: { writeImage: () => gate.wait().then(() => ({ outcome: 'Written' })) },
    });
    await until('the image is being written', () => script.nodes('writeImage').length === 1);
    await handle.cancel();
    // Long enough for a heartbeat to bring a cancel that must not come.
    await new Promise((resolve) => setTimeout(resolve, 400));
    gate.open();
    expect(await handle.result()).toMatchObject({ outcome: 'Ended', verdict: 'Succeeded', cancelled: true });
    expect(script.steps('w-1')).toEqual(FULL);
  });

  it('hands its evidence, and when each step began, to its end', async () => {
    const seen = { bootID: 'boot-2', ready: true, at: '2026-03-01T10:00:00Z', by: 'agent', stamp: 'matches' } as const;
    const { handle, script } = await rig.startNode({
      answers: {
        cordonNode: () => ({ notReadyBefore: ['DaemonSet default/broken'] }),
        verifyNode: () => ({ verdict: 'Succeeded', message: 'runs v2', bootID: 'boot-2', evidence: seen }),
        soakNode: () => ({ outcome: 'Unsteady', verdict: 'Unhealthy', message: 'no network' }),
      },
    });
    expect(await handle.result()).toMatchObject({ verdict: 'Unhealthy', message: 'no network' });
    const [end] = script.inputs('endNode');
    expect(end).toMatchObject({ evidence: seen, hand: { notReadyBefore: ['DaemonSet default/broken'] } });
    const steps = end?.hand.steps ?? [];
    expect(steps.map(({ step }) => step)).toEqual(['Mark', 'Cordon', 'Drain', 'Upgrade', 'Reboot', 'Verify', 'Soak']);
    const times = steps.map(({ startedAt }) => startedAt);
    expect(times.toSorted()).toEqual(times);
    expect(script.inputs('markNode')[0]?.steps?.map(({ step }) => step)).toEqual(['Mark']);
  });
});
