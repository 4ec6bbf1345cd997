import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { verifyNode } from '../../activities/verify.ts';
import { rebootNode } from '../../activities/reboot.ts';
import type { KairosNodeAgentStatus } from '../../api/types.ts';
import { HAND, MINUTE, SECOND, StepWorld, elapse } from './step-world.ts';

const REPORT: KairosNodeAgentStatus = {
  bootID: 'boot-2',
  bootState: 'active',
  release: { KAIROS_VERSION: 'v4.0.3' },
  stamp: { sourceBootID: 'boot-1' },
};
const WORDS = 'boot-id boot-2\nkairos-release KAIROS_VERSION="v4.0.3"\nstamp-boot boot-1\nrun-cos active_mode\n';
const ended = (message: string, exitCode = 0) => ({
  phase: exitCode === 0 ? 'Succeeded' : 'Failed',
  containerStatuses: [{ name: 'evidence', restartCount: 0, state: { terminated: { exitCode, message } } }],
});

let world: StepWorld;
beforeEach(() => {
  jest.useFakeTimers();
  world = new StepWorld();
});
afterEach(() => {
  jest.useRealTimers();
});

const evidencePods = () => world.requests.filter((request) => request.startsWith('create kairos-evidence')).length;

describe('a node that came up anew', () => {
  it('is judged as soon as it is Ready and its agent has reported from that boot', async () => {
    const step = world.run(verifyNode);
    await elapse(MINUTE);
    world.node({ bootID: 'boot-2', ready: false });
    world.report(REPORT);
    await elapse(5 * MINUTE);
    expect(step.answer).toBeUndefined();
    world.node({ bootID: 'boot-2' });
    await elapse(0);
    expect(step.answer).toMatchObject({ verdict: 'Succeeded', bootID: 'boot-2' });
  });

  it.each([
    ['deleted', () => world.removeNode(), /node n-1 was deleted during/],
    ['replaced', () => world.node({ uid: 'uid-2', bootID: 'boot-2' }), /\(UID uid-2 is another node\)/],
  ])('is Lost at once when it is %s', async (_, change, message) => {
    world.node({ bootID: 'boot-2', ready: false });
    const step = world.run(verifyNode);
    await elapse(MINUTE);
    change();
    await elapse(0);
    expect(step.answer).toEqual({
      verdict: 'Lost',
      message: expect.stringMatching(message),
      bootID: '',
      evidence: { ready: false, at: expect.any(String) },
    });
  });

  it('is Lost when it is not Ready at the deadline', async () => {
    world.node({ bootID: 'boot-2', ready: false });
    const step = world.run(verifyNode);
    await elapse(30 * MINUTE - SECOND);
    expect(step.answer).toBeUndefined();
    await elapse(2 * SECOND);
    expect(step.answer).toMatchObject({
      verdict: 'Lost',
      bootID: 'boot-2',
      message: expect.stringMatching(/^node n-1 is not Ready 30m00s .* in the new boot boot-2: look at its console/),
      evidence: { bootID: 'boot-2', ready: false, at: expect.any(String) },
    });
    expect(world.heartbeats).toBeGreaterThan(500);
  });
});

describe('a node that is in its old boot still', () => {
  it('is NeverRebooted where it serves, within two minutes: it has been waited for', async () => {
    const step = world.run(verifyNode);
    await elapse(2 * MINUTE + SECOND);
    expect(step.answer).toMatchObject({ verdict: 'NeverRebooted', bootID: 'boot-1' });
  });

  it('is Lost where it does not, and it is said that it was forced', async () => {
    world.node({ ready: false });
    const before = world.run(rebootNode);
    await elapse(45 * MINUTE);
    expect(before.answer).toEqual({ outcome: 'NeverRebooted' });
    const step = world.run(verifyNode);
    await elapse(2 * MINUTE + SECOND);
    expect(step.answer).toMatchObject({ verdict: 'Lost', message: expect.stringMatching(/after a forced reboot/) });
  });

  it('has all its time once it reboots at last', async () => {
    const step = world.run(verifyNode);
    await elapse(MINUTE);
    world.node({ bootID: 'boot-2', ready: false });
    await elapse(28 * MINUTE);
    expect(step.answer).toBeUndefined();
    world.report(REPORT);
    world.node({ bootID: 'boot-2' });
    await elapse(0);
    expect(step.answer).toMatchObject({ verdict: 'Succeeded' });
  });
});

describe('no verdict is given by who was away:', () => {
  const lost = { bootID: 'boot-2', ready: false };

  it('a worker waits for two minutes of contact, and evidence meanwhile counts', async () => {
    world.node(lost);
    world.regainContact();
    const step = world.run(verifyNode, { agoMs: 300 * MINUTE });
    await elapse(MINUTE);
    expect(step.answer).toBeUndefined();
    world.report(REPORT);
    world.node({ bootID: 'boot-2' });
    await elapse(0);
    expect(step.answer).toMatchObject({ verdict: 'Succeeded' });
  });

  it('nor longer than that', async () => {
    world.node(lost);
    world.regainContact();
    const step = world.run(verifyNode, { agoMs: 300 * MINUTE });
    await elapse(2 * MINUTE - 2 * SECOND);
    expect(step.answer).toBeUndefined();
    await elapse(4 * SECOND);
    expect(step.answer).toMatchObject({ verdict: 'Lost' });
  });

  it('a deadline that is shorter than two minutes needs no longer contact', async () => {
    const hand = { ...HAND, spec: { ...HAND.spec, rebootTimeoutMs: 20 * SECOND } };
    world.node(lost);
    world.regainContact();
    const step = world.run(verifyNode, { agoMs: 300 * MINUTE, hand });
    await elapse(22 * SECOND);
    expect(step.answer).toMatchObject({ verdict: 'Lost' });
  });

  it('an API server that is away, for as long as it is, and two minutes more', async () => {
    world.node(lost);
    const step = world.run(verifyNode);
    await elapse(20 * MINUTE);
    world.loseContact();
    await elapse(24 * 60 * MINUTE);
    world.regainContact();
    await elapse(2 * MINUTE - 2 * SECOND);
    expect({ answer: step.answer, error: step.error }).toEqual({ answer: undefined, error: undefined });
    await elapse(4 * SECOND);
    expect(step.answer).toMatchObject({ verdict: 'Lost' });
  });

  it('a watch that hangs: the API server is asked', async () => {
    world.node(lost);
    world.watching = false;
    world.report(REPORT);
    world.node({ bootID: 'boot-2' });
    const step = world.run(verifyNode);
    await elapse(31 * MINUTE);
    expect(step.answer).toMatchObject({ verdict: 'Succeeded' });
  });
});

describe('a node that is gone, as the API server says and a watch that hangs does not,', () => {
  it('is Lost for that reason', async () => {
    world.node({ bootID: 'boot-2', ready: false });
    world.watching = false;
    world.removeNode();
    const step = world.run(verifyNode);
    await elapse(31 * MINUTE);
    expect(step.answer).toMatchObject({ verdict: 'Lost', message: expect.stringMatching(/node n-1 was deleted/) });
  });
});

describe('a node that is Ready, and whose agent is silent,', () => {
  const silent = async () => {
    world.node({ bootID: 'boot-2' });
    const step = world.run(verifyNode);
    await elapse(30 * MINUTE - SECOND);
    expect({ pods: evidencePods(), answer: step.answer }).toEqual({ pods: 0, answer: undefined });
    await elapse(2 * SECOND);
    expect({ pods: evidencePods(), answer: step.answer }).toEqual({ pods: 1, answer: undefined });
    return step;
  };

  it('is read by a pod at the deadline, and judged by the same rules', async () => {
    const step = await silent();
    world.pod('kairos-evidence', ended(WORDS));
    await elapse(0);
    expect(step.answer).toMatchObject({
      verdict: 'Succeeded',
      bootID: 'boot-2',
      message: expect.stringMatching(/^runs v4\.0\.3, proven by the stamp .*; read by a pod on node n-1/),
      evidence: { by: 'pod', bootID: 'boot-2', bootState: 'active', stamp: 'matches' },
    });
  });

  it('is RolledBack where the pod finds it in its fallback', async () => {
    const step = await silent();
    world.pod('kairos-evidence', ended(WORDS.replace('active_mode', 'passive_mode')));
    await elapse(0);
    expect(step.answer).toMatchObject({ verdict: 'RolledBack' });
  });

  it('is judged by its agent where that reports meanwhile', async () => {
    const step = await silent();
    world.report(REPORT);
    await elapse(0);
    expect(step.answer).toEqual({
      verdict: 'Succeeded',
      bootID: 'boot-2',
      message: 'runs v4.0.3, proven by the stamp of this upgrade',
      evidence: {
        bootID: 'boot-2',
        ready: true,
        by: 'agent',
        bootState: 'active',
        stamp: 'matches',
        version: 'v4.0.3',
        at: new Date().toISOString(),
      },
    });
  });

  const waiting = { reason: 'ErrImagePull', message: 'no such host' };
  it.each<[string, object, RegExp]>([
    [
      'reads no Kairos',
      ended('boot-id boot-2\n'),
      /a pod .* ended with 0, and read no Kairos release; it said: boot-id/,
    ],
    ['fails', ended('/bin/sh: no', 2), /a pod .* ended with 2, and read no Kairos release; it said: \/bin\/sh: no/],
    ['reads another boot', ended(WORDS.replace('boot-2', 'boot-3')), /a pod .* read boot boot-3/],
    ['is refused', { phase: 'Failed', reason: 'OutOfpods', message: 'full' }, /refused by kubelet: OutOfpods full/],
  ])('is Unverified where the pod %s', async (_, status, message) => {
    const step = await silent();
    world.pod('kairos-evidence', status);
    await elapse(0);
    expect(step.answer).toMatchObject({ verdict: 'Unverified', message: expect.stringMatching(message) });
  });

  it.each<[string, object, RegExp]>([
    [
      'does not start',
      { phase: 'Pending', containerStatuses: [{ name: 'evidence', restartCount: 0, state: { waiting } }] },
      /a pod .* did not start: ErrImagePull no such host/,
    ],
    [
      'does not end',
      { phase: 'Running' },
      /a pod .* did not end \(Running\); see kubectl describe pod -n ns kairos-evid/,
    ],
  ])('is Unverified where the pod %s in ten minutes', async (_, status, message) => {
    const step = await silent();
    world.pod('kairos-evidence', status);
    await elapse(10 * MINUTE - 2 * SECOND);
    expect(step.answer).toBeUndefined();
    await elapse(4 * SECOND);
    expect(step.answer).toMatchObject({ verdict: 'Unverified', message: expect.stringMatching(message) });
  });

  it('is Unverified where the pod is not allowed, or deleted', async () => {
    world.forbidden = 'kairos-evidence';
    world.node({ bootID: 'boot-2' });
    const step = world.run(verifyNode);
    await elapse(30 * MINUTE + SECOND);
    expect(step.answer).toMatchObject({
      verdict: 'Unverified',
      message: expect.stringMatching(/was refused: .*Forbid/),
    });
    world.forbidden = undefined;
    const other = world.run(verifyNode, { agoMs: 30 * MINUTE });
    await elapse(SECOND);
    world.removePod('kairos-evidence');
    await elapse(11 * MINUTE);
    expect(other.answer).toMatchObject({
      verdict: 'Unverified',
      message: expect.stringMatching(/was deleted by somebody/),
    });
  });
});
