import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { soakNode } from '../../activities/soak.ts';
import { HAND, MINUTE, SECOND, StepWorld, elapse } from './step-world.ts';

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
    expect(step.answer).toMatchObject({
      outcome: 'Unsteady',
      message: expect.stringMatching(
        /^node n-1 runs v4\.0\.3 but did not stay Ready for 30s within 30m30s: it is not Re/,
      ),
    });
  });

  it('sees a soak to its end that is under way when the time is over, but only one', async () => {
    const step = world.run(soakNode);
    const flap = async (readyMs: number) => {
      world.node({ bootID: 'boot-2', ready: false });
      await elapse(5 * SECOND);
      world.node({ bootID: 'boot-2' });
      await elapse(readyMs);
    };
    for (let passed = 0; passed < 30 * MINUTE; passed += 30 * SECOND) await flap(25 * SECOND);
    await flap(29 * SECOND);
    expect(step.answer).toBeUndefined();
    await elapse(2 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady' });
  });

  it('ends for a node that is Ready only now and then', async () => {
    const step = world.run(soakNode);
    for (let passed = 0; passed < 32 * MINUTE && step.answer === undefined; passed += 20 * SECOND) {
      world.node({ bootID: 'boot-2', ready: (passed / (20 * SECOND)) % 2 === 0 });
      await elapse(20 * SECOND);
    }
    expect(step.answer).toMatchObject({ outcome: 'Unsteady', message: expect.stringContaining('did not stay Ready') });
  });

  it.each([
    ['deleted', () => world.removeNode(), /but was deleted before it was back/],
    ['replaced', () => world.node({ uid: 'uid-2' }), /but was deleted and made again before it was back/],
  ])('ends at once for a node that is %s', async (_, change, message) => {
    const step = world.run(soakNode);
    await elapse(10 * SECOND);
    change();
    await elapse(SECOND);
    expect(step.answer).toMatchObject({ outcome: 'Unsteady', message: expect.stringMatching(message) });
  });

  it('judges a node anew that rebooted meanwhile: it may have fallen back', async () => {
    const step = world.run(soakNode);
    await elapse(10 * SECOND);
    world.node({ bootID: 'boot-3' });
    await elapse(MINUTE);
    expect(step.answer).toBeUndefined();
    world.report({ bootID: 'boot-3', bootState: 'passive', release: { KAIROS_VERSION: 'v4.0.2' } });
    await elapse(0);
    expect(step.answer).toMatchObject({
      outcome: 'Unsteady',
      verdict: 'RolledBack',
      evidence: { bootID: 'boot-3', bootState: 'passive', version: 'v4.0.2', stamp: 'none', by: 'agent', ready: true },
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

describe('a soak looks at the pods of its node:', () => {
  const crashing = {
    state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 40s' } },
    lastState: { terminated: { exitCode: 1, reason: 'Error', message: 'no such device' } },
  };

  it('one of a DaemonSet that comes late lets it begin when that is Ready', async () => {
    world.otherPod('cni-1', { ready: false });
    const step = world.run(soakNode);
    await elapse(5 * MINUTE);
    expect(step.answer).toBeUndefined();
    world.otherPod('cni-1');
    await elapse(29 * SECOND);
    expect(step.answer).toBeUndefined();
    await elapse(2 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady' });
    expect(world.podWatches).toBe(0);
  });

  it('one of a DaemonSet that never is Ready makes the node Unhealthy, with its last words', async () => {
    world.otherPod('cni-1', { ready: false, state: crashing });
    const step = world.run(soakNode);
    await elapse(10 * MINUTE + 29 * SECOND);
    expect(step.answer).toBeUndefined();
    await elapse(5 * SECOND);
    expect(step.answer).toMatchObject({
      outcome: 'Unsteady',
      verdict: 'Unhealthy',
      message: expect.stringMatching(
        /^node n-1 runs v4\.0\.3, but its pods did not hold out for 30s within 10m30s: pod apps\/cni-1 of DaemonSet cni is not Ready: container c waits: CrashLoopBackOff back-off 40s; it ended with 1 \(Error\): no such device\. Mend that/,
      ),
    });
    expect(world.podWatches).toBe(0);
  });

  it('is told in its words of now, and since when it is waited for', async () => {
    world.otherPod('cni-1', {
      ready: false,
      state: {
        state: { waiting: { reason: 'ContainerCreating' } },
        lastState: { terminated: { exitCode: 255, reason: 'Unknown' } },
      },
    });
    world.run(soakNode);
    await elapse(SECOND);
    const first = world.kairosNode.message;
    expect(first).toMatch(/: waits since \S+, pod .* waits: ContainerCreating; it ended with 255 \(Unknown\)$/);
    const since = /since (\S+),/.exec(first ?? '')?.[1];
    await elapse(MINUTE);
    world.otherPod('cni-1', { ready: false, state: crashing });
    await elapse(SECOND);
    const then = world.kairosNode.message;
    expect(then).toContain(`waits since ${since}, `);
    expect(then).toMatch(/waits: CrashLoopBackOff back-off 40s; it ended with 1 \(Error\): no such device$/);
  });

  it('one that is Ready only now and then makes it Unhealthy, too', async () => {
    const step = world.run(soakNode);
    for (let passed = 0; passed < 12 * MINUTE && step.answer === undefined; passed += 20 * SECOND) {
      world.otherPod('cni-1', { ready: (passed / (20 * SECOND)) % 2 === 0 });
      await elapse(20 * SECOND);
    }
    expect(step.answer).toMatchObject({ outcome: 'Unsteady', verdict: 'Unhealthy' });
  });

  it('what was not Ready before the upgrade is named, and not waited for', async () => {
    world.otherPod('old-1', { ready: false, state: crashing });
    const hand = { ...HAND, notReadyBefore: ['DaemonSet apps/old', 'DaemonSet apps/mended'] };
    const step = world.run(soakNode, { hand });
    await elapse(31 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady', note: 'not Ready, as before the upgrade: DaemonSet apps/old' });
  });

  it('a container that restarts too often lets it begin anew', async () => {
    world.otherPod('app-1', { owner: 'ReplicaSet', restarts: 7 });
    const step = world.run(soakNode);
    await elapse(20 * SECOND);
    world.otherPod('app-1', { owner: 'ReplicaSet', restarts: 10 });
    await elapse(5 * SECOND);
    world.otherPod('app-1', { owner: 'ReplicaSet', restarts: 11 });
    await elapse(29 * SECOND);
    expect(step.answer).toBeUndefined();
    await elapse(2 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady' });
  });

  it.each([
    ['the pods of DaemonSets are not asked for', { daemonSets: false, maxRestarts: 3, timeoutMs: MINUTE }],
    [
      'they are left out by their labels',
      { daemonSets: true, maxRestarts: 3, timeoutMs: MINUTE, ignorePods: { matchLabels: { app: 'cni' } } },
    ],
  ])('not where %s', async (_, soakChecks) => {
    world.otherPod('cni-1', { ready: false, labels: { app: 'cni' } });
    const step = world.run(soakNode, { hand: { ...HAND, spec: { ...HAND.spec, soakChecks } } });
    await elapse(31 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady' });
  });

  it('a node that is not Ready has its own time, however long that of the pods is', async () => {
    world.node({ bootID: 'boot-2', ready: false });
    world.otherPod('cni-1', { ready: false });
    const soakChecks = { daemonSets: true, maxRestarts: 3, timeoutMs: 600 * MINUTE };
    const step = world.run(soakNode, { hand: { ...HAND, spec: { ...HAND.spec, soakChecks } } });
    await elapse(31 * MINUTE);
    expect(step.answer).toMatchObject({
      outcome: 'Unsteady',
      message: expect.stringMatching(/did not stay Ready for 30s/),
    });
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

  it('does not believe what a Node said before the API server was away', async () => {
    const step = world.run(soakNode);
    await elapse(10 * SECOND);
    world.loseContact();
    await elapse(MINUTE);
    world.regainContact();
    await elapse(MINUTE);
    world.node({ bootID: 'boot-2', ready: false });
    await elapse(MINUTE);
    expect(step.answer).toBeUndefined();
    expect(world.kairosNode.message).toMatch(/^must stay Ready for 30s: waits since .*, it is not Ready$/);
    world.node({ bootID: 'boot-2' });
    await elapse(31 * SECOND);
    expect(step.answer).toEqual({ outcome: 'Steady' });
  });

  it.each([0, 250, 500, 750])(
    'says nothing against a node that it has not seen break, whenever the watches are heard again (%i ms)',
    async (lateMs) => {
      world.wordEveryMs = 75 * SECOND;
      const spec = { ...HAND.spec, soakMs: 8 * SECOND, rebootTimeoutMs: MINUTE };
      const step = world.run(soakNode, { hand: { ...HAND, spec } });
      await elapse(3 * SECOND);
      world.loseContact();
      await elapse(40 * SECOND + lateMs);
      world.regainContact();
      await elapse(4 * MINUTE);
      expect(step).toEqual({ answer: { outcome: 'Steady' }, error: undefined });
    },
  );
});
