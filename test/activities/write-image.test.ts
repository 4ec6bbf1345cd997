import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { writeImage } from '../../activities/write-image.ts';
import { HAND, MINUTE, SECOND, StepWorld, elapse } from './step-world.ts';

let world: StepWorld;
beforeEach(() => {
  jest.useFakeTimers();
  world = new StepWorld();
});
afterEach(() => {
  jest.useRealTimers();
});

const write = async () => {
  const step = world.run((view, hand) => writeImage(view, { hand, step: 'upgrade' }));
  await elapse(0);
  world.writer('writer');
  await elapse(0);
  return step;
};
const ended = (exitCode: number, message = '') => ({
  phase: exitCode === 0 ? 'Succeeded' : 'Failed',
  containerStatuses: [{ name: 'upgrade', restartCount: 0, state: { terminated: { exitCode, message } } }],
});
const kept = () => world.kairosNode;
const jobs = () => world.requests.filter((request) => request.startsWith('create kairos-upgrade')).length;

describe('a node that somebody put back to service', () => {
  const asked = async (hand: Partial<typeof HAND> & { recoveredAt?: string } = {}) => {
    const step = world.run((view, found) => writeImage(view, { hand: found, step: 'upgrade' }), {
      hand: { ...HAND, ...hand },
    });
    await elapse(0);
    return step;
  };

  it.each([
    ['its mark is gone', { owner: null }, /carries no mark .*left as it is; its image was not/],
    ['its mark is of another one', { owner: 'held:Lost' }, /carries the mark held:Lost/],
    ['its cordon is gone', { unschedulable: false }, /somebody uncordoned node n-1 .*stays in service.*not touched/],
  ])('is not written to: %s', async (_, node, message) => {
    world.node(node);
    expect((await asked()).answer).toEqual({ outcome: 'NotWritten', message: expect.stringMatching(message) });
    expect(jobs()).toBe(0);
  });

  it('may have been written to where an earlier run could have made its Job, and that is said', async () => {
    world.node({ owner: null });
    const step = await asked({ recoveredAt: '2026-03-01T11:00:00Z' });
    expect(step.answer).toEqual({
      outcome: 'Failed',
      message: expect.stringMatching(/whether i was written .* is not known/),
    });
    expect(jobs()).toBe(0);
  });

  it('is waited for where its Job is there: an image is being written', async () => {
    await write();
    world.node({ owner: null, unschedulable: false });
    const step = await asked({ recoveredAt: '2026-03-01T11:00:00Z' });
    world.pod('writer', ended(0));
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'Written' });
  });

  it('gets its recovery image after an upgrade that was verified: that disrupts nobody', async () => {
    world.node({ owner: null, unschedulable: false });
    const step = world.run((view, hand) => writeImage(view, { hand, step: 'recovery' }));
    await elapse(0);
    expect({ answer: step.answer, made: world.requests }).toEqual({
      answer: undefined,
      made: [expect.stringMatching(/^create kairos-recovery/)],
    });
  });
});

describe('the writing of an image', () => {
  it('has no deadline, and ends with its pod', async () => {
    const step = await write();
    await elapse(24 * 60 * MINUTE);
    expect(step.answer).toBeUndefined();
    world.pod('writer', ended(0));
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'Written' });
    expect(jobs()).toBe(1);
  });

  it('keeps how it ended in the KairosNode, before it answers', async () => {
    const step = await write();
    const terminated = {
      exitCode: 0,
      reason: 'Completed',
      message: 'writing\n\u001b[32mdone\u001b[0m\n',
      startedAt: '2026-03-01T10:01:00Z',
      finishedAt: '2026-03-01T10:05:00Z',
    };
    world.pod('writer', {
      phase: 'Succeeded',
      containerStatuses: [{ name: 'upgrade', restartCount: 0, state: { terminated } }],
    });
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'Written' });
    // With the step that follows, in one write.
    expect(kept()).toMatchObject({ step: 'Reboot', message: 'rebooting into v4.0.3', upgradeState: 'InProgress' });
    expect(kept().inHand.writes).toEqual([
      {
        step: 'upgrade',
        bootID: 'boot-1',
        exitCode: 0,
        reason: 'Completed',
        logTail: 'writing\ndone',
        startedAt: '2026-03-01T10:01:00Z',
        finishedAt: '2026-03-01T10:05:00Z',
      },
    ]);
    expect(kept()).not.toHaveProperty('recovery');
  });

  it.each<[string, object, object]>([
    [
      'for want of memory',
      {
        phase: 'Failed',
        containerStatuses: [{ name: 'upgrade', state: { terminated: { exitCode: 137, reason: 'OOMKilled' } } }],
      },
      { step: 'upgrade', bootID: 'boot-1', exitCode: 137, reason: 'OOMKilled' },
    ],
    [
      'by an eviction',
      {
        phase: 'Failed',
        reason: 'Evicted',
        message: 'The node was low on resource: memory.',
        containerStatuses: [
          { name: 'upgrade', state: { terminated: { exitCode: 137, reason: 'Error', message: 'writing' } } },
        ],
      },
      {
        step: 'upgrade',
        bootID: 'boot-1',
        exitCode: 137,
        reason: 'Evicted, Error',
        logTail: 'writing\nThe node was low on resource: memory.',
      },
    ],
  ])('that was cut off %s leaves what is known of it', async (_, status, record) => {
    const step = await write();
    world.pod('writer', status);
    await elapse(0);
    expect(step.answer).toMatchObject({ outcome: 'Failed' });
    expect(kept().inHand.writes).toEqual([record]);
  });

  it('in which the machine rebooted leaves that, or what its pod said', async () => {
    const first = await write();
    world.node({ bootID: 'boot-2' });
    await elapse(0);
    expect(first.answer).toEqual({ outcome: 'BootChanged' });
    expect(kept().inHand.writes).toEqual([{ step: 'upgrade', bootID: 'boot-1', reason: 'NodeRebooted' }]);
  });

  it('of the recovery system is known by its digest from its end on, and unknown while it lasts', async () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    world.report({ bootID: 'boot-1', recovery: { image: 'old', version: 'v1', writtenAt: '', rollout: '' } });
    const hand = { ...HAND, target: { ...HAND.target, digest } };
    const step = world.run((view, now) => writeImage(view, { hand: now, step: 'recovery' }), { hand });
    await elapse(0);
    expect(kept().recovery).toBeUndefined();
    world.writer('writer');
    world.pod('writer', ended(0));
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'Written' });
    expect(kept().recovery).toMatchObject({ image: 'i', digest, version: 'v4.0.3', rollout: HAND.rolloutID });
  });

  it('of the recovery system that failed leaves it unknown', async () => {
    world.report({ bootID: 'boot-1', recovery: { image: 'old', version: 'v1', writtenAt: '', rollout: '' } });
    world.run((view, hand) => writeImage(view, { hand, step: 'recovery' }));
    await elapse(0);
    world.writer('writer');
    world.pod('writer', ended(1, 'no space'));
    await elapse(0);
    expect(kept().recovery).toBeUndefined();
    expect(kept().inHand.writes).toMatchObject([
      { step: 'recovery', bootID: 'boot-1', exitCode: 1, logTail: 'no space' },
    ]);
  });

  it('that takes long is said to be slow, every ten minutes, and goes on', async () => {
    const step = await write();
    expect(kept().message).toBe('writing i');
    await elapse(10 * MINUTE);
    expect(kept().message).toMatch(
      /^writing i for 10m00s: slow, and not killed; kubectl logs -n ns job\/kairos-upgrade-n-1/,
    );
    await elapse(20 * MINUTE);
    expect(kept().message).toMatch(/^writing i for 30m00s: slow/);
    expect({ jobs: jobs(), answer: step.answer }).toEqual({ jobs: 1, answer: undefined });
  });

  it('fails with the end of what the agent said', async () => {
    const step = await write();
    world.pod('writer', ended(13, 'no space'));
    await elapse(0);
    expect(step.answer).toEqual({
      outcome: 'Failed',
      message: expect.stringMatching(/^node n-1: kairos-agent upgrade ended with 13: no space/),
    });
  });

  it('is looked at in the new boot where the machine rebooted itself, whatever its pod said first', async () => {
    const step = await write();
    world.watching = false;
    world.node({ bootID: 'boot-2', ready: false });
    world.watching = true;
    world.pod('writer', ended(255));
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'BootChanged' });
  });

  it('that found itself in another boot waits until the Node says so', async () => {
    const step = await write();
    world.pod('writer', ended(76, 'made for boot boot-1'));
    await elapse(5 * MINUTE);
    expect(step.answer).toBeUndefined();
    world.node({ bootID: 'boot-2' });
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'BootChanged' });
  });

  it('that could not tell its boot has touched nothing', async () => {
    const step = await write();
    world.pod('writer', ended(77, 'denied'));
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'NotWritten', message: expect.stringMatching(/denied.*not touched/) });
  });

  it('whose pod kubelet refused is begun again', async () => {
    const step = await write();
    world.pod('writer', { phase: 'Failed', reason: 'OutOfpods' });
    await elapse(2 * SECOND);
    expect({ jobs: jobs(), answer: step.answer }).toEqual({ jobs: 2, answer: undefined });
  });

  it('whose pod somebody deleted is asked for again: the lock lets that one only repeat the outcome', async () => {
    const step = await write();
    world.removePod('writer');
    await elapse(2 * MINUTE);
    // Its Job may still make another one.
    expect(jobs()).toBe(1);
    world.endJob();
    await elapse(MINUTE);
    expect(jobs()).toBe(2);
    world.writer('second');
    world.pod('second', ended(75, 'an earlier run in this boot was cut off: not run again'));
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'Failed', message: expect.stringMatching(/ended with 75: .*cut off/) });
  });

  it('is not begun again for a pod that the watch is slow to deliver', async () => {
    const step = world.run((view, hand) => writeImage(view, { hand, step: 'upgrade' }));
    await elapse(0);
    world.endJob();
    await elapse(30 * SECOND);
    world.writer('writer');
    world.pod('writer', ended(0));
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'Written' });
    expect(jobs()).toBe(1);
  });

  it('is not begun again while a pod of it is there, whatever its Job says', async () => {
    await write();
    world.endJob();
    await elapse(10 * MINUTE);
    expect(jobs()).toBe(1);
  });

  it('that the API server does not allow has touched nothing', async () => {
    world.forbidden = 'kairos-upgrade';
    const step = world.run((view, hand) => writeImage(view, { hand, step: 'upgrade' }));
    await elapse(0);
    expect(step.answer).toEqual({
      outcome: 'NotWritten',
      message: expect.stringMatching(/Forbidden; its image was not/),
    });
  });
});
