import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { rebootNode } from '../../activities/reboot.ts';
import { MINUTE, SECOND, StepWorld, elapse } from './step-world.ts';

let world: StepWorld;
beforeEach(() => {
  jest.useFakeTimers();
  world = new StepWorld();
});
afterEach(() => {
  jest.useRealTimers();
});

const asked = () => world.requests.filter((request) => request.startsWith('create kairos-reboot-n')).length;
const forced = () => world.requests.filter((request) => request.startsWith('create kairos-reboot-forced')).length;

describe('a reboot', () => {
  it('is asked for three times within its time, and a node that serves all the while is never forced', async () => {
    const step = world.run(rebootNode);
    for (const times of [1, 2, 3]) {
      await elapse(9 * MINUTE);
      expect({ asked: asked(), pods: world.pods }).toEqual({ asked: times, pods: ['kairos-reboot'] });
      expect(step.answer).toBeUndefined();
      await elapse(1 * MINUTE);
    }
    await elapse(SECOND);
    expect(step.answer).toEqual({ outcome: 'NeverRebooted' });
    expect(forced()).toBe(0);
    expect(world.heartbeats).toBeGreaterThan(500);
  });

  it.each([
    ['another boot id', () => world.node({ bootID: 'boot-2' })],
    ['another boot id, not Ready', () => world.node({ bootID: 'boot-2', ready: false })],
    ['no Node any more', () => world.removeNode()],
    ['another Node of that name', () => world.node({ uid: 'uid-2' })],
  ])('is over with %s', async (_, change) => {
    const step = world.run(rebootNode);
    await elapse(12 * MINUTE);
    expect(step.answer).toBeUndefined();
    change();
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'BootChanged' });
    expect(asked()).toBe(2);
  });

  it('is not asked for in another boot', async () => {
    world.node({ bootID: 'boot-2' });
    const step = world.run(rebootNode);
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'BootChanged' });
    expect(asked()).toBe(0);
  });
});

describe('a pod that was to reboot', () => {
  it('and that somebody deletes is made again within seconds, a bounded number of times', async () => {
    world.run(rebootNode);
    await elapse(6 * SECOND);
    expect(asked()).toBe(1);
    world.removePod('kairos-reboot');
    await elapse(6 * SECOND);
    expect({ asked: asked(), pods: world.pods }).toEqual({ asked: 2, pods: ['kairos-reboot'] });
    for (let second = 0; second < 9 * 60; second += 1) {
      world.removePod('kairos-reboot');
      await elapse(SECOND);
    }
    expect(asked()).toBe(21);
    // The next try begins with its own.
    await elapse(MINUTE);
    expect(asked()).toBe(22);
  });

  it('and that kubelet evicted is made again', async () => {
    world.run(rebootNode);
    await elapse(6 * SECOND);
    world.pod('kairos-reboot', { phase: 'Failed', reason: 'Evicted' });
    await elapse(6 * SECOND);
    expect({ asked: asked(), pods: world.pods }).toEqual({ asked: 2, pods: ['kairos-reboot'] });
  });

  it('and that ended without a reboot is left until the next try', async () => {
    world.run(rebootNode);
    await elapse(6 * SECOND);
    world.pod('kairos-reboot', { phase: 'Succeeded' });
    await elapse(9 * MINUTE);
    expect(asked()).toBe(1);
  });

  it('by force is made again, too', async () => {
    world.run(rebootNode);
    world.node({ ready: false });
    await elapse(30 * MINUTE + 6 * SECOND);
    expect(forced()).toBe(1);
    world.removePod('kairos-reboot-forced');
    await elapse(6 * SECOND);
    expect(forced()).toBe(2);
  });

  it('is not made again in another boot', async () => {
    const step = world.run(rebootNode);
    await elapse(6 * SECOND);
    world.removePod('kairos-reboot');
    world.node({ bootID: 'boot-2', ready: false });
    await elapse(MINUTE);
    expect({ asked: asked(), answer: step.answer }).toEqual({ asked: 1, answer: { outcome: 'BootChanged' } });
  });
});

describe('a node that is not Ready in its old boot when the time is over', () => {
  it('is forced once, and given the time of one more try', async () => {
    const step = world.run(rebootNode);
    world.node({ ready: false });
    await elapse(30 * MINUTE - SECOND);
    expect(forced()).toBe(0);
    await elapse(2 * SECOND);
    expect({ forced: forced(), answer: step.answer }).toEqual({ forced: 1, answer: undefined });
    expect(world.pods).toEqual(['kairos-reboot-forced']);
    await elapse(10 * MINUTE);
    expect(step.answer).toEqual({ outcome: 'NeverRebooted' });
    expect({ asked: asked(), forced: forced() }).toEqual({ asked: 3, forced: 1 });
    expect(world.pods).toEqual(['kairos-reboot-forced']);
  });

  it('that reboots by force has rebooted', async () => {
    const step = world.run(rebootNode);
    world.node({ ready: false });
    await elapse(35 * MINUTE);
    expect(forced()).toBe(1);
    world.node({ bootID: 'boot-2' });
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'BootChanged' });
  });

  it('is not forced when the API server knows better than a watch that hangs', async () => {
    const step = world.run(rebootNode);
    world.node({ ready: false });
    world.watching = false;
    world.node({ bootID: 'boot-2' });
    await elapse(31 * MINUTE);
    expect(step.answer).toEqual({ outcome: 'BootChanged' });
    expect(forced()).toBe(0);
  });
});

describe('a worker that was away', () => {
  it('asks once more and waits two minutes before it says that a node never rebooted', async () => {
    world.regainContact();
    const step = world.run(rebootNode, { agoMs: 120 * MINUTE });
    await elapse(2 * MINUTE - 2 * SECOND);
    expect({ asked: asked(), answer: step.answer }).toEqual({ asked: 1, answer: undefined });
    await elapse(4 * SECOND);
    expect(step.answer).toEqual({ outcome: 'NeverRebooted' });
  });

  it('gives a node two minutes more after it has forced it', async () => {
    world.regainContact();
    world.node({ ready: false });
    const step = world.run(rebootNode, { agoMs: 120 * MINUTE });
    await elapse(2 * MINUTE + 2 * SECOND);
    expect({ forced: forced(), answer: step.answer }).toEqual({ forced: 1, answer: undefined });
    await elapse(2 * MINUTE);
    expect(step.answer).toEqual({ outcome: 'NeverRebooted' });
  });

  it('goes on with the try that it is time for', async () => {
    world.run(rebootNode, { agoMs: 15 * MINUTE });
    await elapse(14 * MINUTE);
    expect(asked()).toBe(2);
  });
});

describe('an API server that was away at the deadline', () => {
  it('has to be back for two minutes, and what it says then counts', async () => {
    const step = world.run(rebootNode);
    await elapse(25 * MINUTE);
    world.loseContact();
    await elapse(60 * MINUTE);
    expect({ answer: step.answer, error: step.error }).toEqual({ answer: undefined, error: undefined });
    world.regainContact();
    await elapse(MINUTE);
    expect(step.answer).toBeUndefined();
    world.node({ bootID: 'boot-2' });
    await elapse(0);
    expect(step.answer).toEqual({ outcome: 'BootChanged' });
    expect(forced()).toBe(0);
  });
});
