import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { soakNode } from '../../activities/soak.ts';
import { MINUTE, SECOND, StepWorld, elapse } from './step-world.ts';

const REPORT = {
  bootID: 'boot-2',
  bootState: 'active',
  release: { KAIROS_VERSION: 'v4.0.3' },
  stamp: { sourceBootID: 'boot-1' },
} as const;

let world: StepWorld;
beforeEach(() => {
  jest.useFakeTimers();
  world = new StepWorld();
  world.node({ bootID: 'boot-2' });
  world.report(REPORT);
});
afterEach(() => {
  jest.useRealTimers();
});

describe('a soak', () => {
  it('is over when the node was Ready without a break', async () => {
    const step = world.run(soakNode);
    await elapse(20 * SECOND);
    world.node({ bootID: 'boot-2', ready: false });
    await elapse(5 * SECOND);
    world.node({ bootID: 'boot-2' });
    await elapse(29 * SECOND);
    expect(step.answer).toBeUndefined();
    await elapse(2 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady' });
  });

  it('is over for a node whose agent is silent all the while', async () => {
    world.report({ bootID: 'boot-1' });
    const step = world.run(soakNode);
    await elapse(31 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady' });
  });

  it('ends for a node that does not hold out, when its time to come back is over', async () => {
    const step = world.run(soakNode);
    await elapse(10 * SECOND);
    world.node({ bootID: 'boot-2', ready: false });
    await elapse(30 * MINUTE);
    expect(step.answer).toBeUndefined();
    await elapse(30 * SECOND);
    expect(step.answer).toEqual({
      outcome: 'Unsteady',
      message: expect.stringMatching(
        /^node n-1 runs v4\.0\.3 but did not stay Ready for 30s within 30m30s: it is not Re/,
      ),
    });
  });

  it.each([
    ['deleted', () => world.removeNode(), /but was deleted before it was back/],
    ['replaced', () => world.node({ uid: 'uid-2' }), /but was deleted and made again before it was back/],
  ])('ends at once for a node that is %s', async (_, change, message) => {
    const step = world.run(soakNode);
    await elapse(10 * SECOND);
    change();
    await elapse(SECOND);
    expect(step.answer).toEqual({ outcome: 'Unsteady', message: expect.stringMatching(message) });
  });

  it('judges a node anew that rebooted meanwhile: it may have fallen back', async () => {
    const step = world.run(soakNode);
    await elapse(10 * SECOND);
    world.node({ bootID: 'boot-3' });
    await elapse(MINUTE);
    expect(step.answer).toBeUndefined();
    world.report({ bootID: 'boot-3', bootState: 'passive', release: { KAIROS_VERSION: 'v4.0.2' } });
    await elapse(0);
    expect(step.answer).toEqual({
      outcome: 'Unsteady',
      verdict: 'RolledBack',
      message: expect.stringMatching(/did not hold out in the new boot; .*node n-1 fell back to its passive image/),
    });
  });

  it('is over for a node that rebooted meanwhile, into the target again', async () => {
    const step = world.run(soakNode);
    await elapse(10 * SECOND);
    world.node({ bootID: 'boot-3' });
    world.report({ ...REPORT, bootID: 'boot-3' });
    await elapse(31 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady' });
  });
});

describe('a worker that was away', () => {
  it('gives a node the time of a soak before it says that it did not hold out', async () => {
    world.regainContact();
    const step = world.run(soakNode, { agoMs: 300 * MINUTE });
    await elapse(31 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady' });
  });

  it('does not believe a watch that hangs', async () => {
    world.watching = false;
    world.node({ bootID: 'boot-2', ready: false });
    const step = world.run(soakNode);
    await elapse(5 * MINUTE);
    expect(step.answer).toBeUndefined();
    world.node({ bootID: 'boot-2' });
    await elapse(31 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady' });
  });

  it('waits for the API server', async () => {
    const step = world.run(soakNode);
    await elapse(10 * SECOND);
    world.loseContact();
    await elapse(60 * MINUTE);
    expect({ answer: step.answer, error: step.error }).toEqual({ answer: undefined, error: undefined });
    world.regainContact();
    await elapse(3 * MINUTE);
    expect(step.answer).toEqual({ outcome: 'Steady' });
  });
});
