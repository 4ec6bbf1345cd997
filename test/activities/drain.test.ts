import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { KairosNodeStatus } from '../../api/types.ts';
import { DrainWorld, handWith, nodeNow } from './drain-world.ts';
import { HAND, MINUTE, SECOND, elapse } from './step-world.ts';

let world: DrainWorld;

beforeEach(() => {
  jest.useFakeTimers({ now: Date.parse('2026-03-01T10:00:00Z') });
  world = new DrainWorld();
});

afterEach(() => {
  jest.useRealTimers();
});

const evicted = (name: string) => world.requests.filter((request) => request === `evict ${name}`).length;
const shown = () => world.status.blockers?.map(({ pod, reason }) => `${pod} ${reason}`);

describe('a drain', () => {
  it('ends when its pods are gone, and leaves no blockers', async () => {
    world.pod('web-0');
    world.pod('web-1', { graceSeconds: 30 });
    const running = world.drain(HAND);
    await elapse(29 * SECOND);
    expect(world.names).toEqual(['web-1']);
    expect(running.answer).toBeUndefined();
    await elapse(3 * SECOND);
    expect(running).toMatchObject({ answer: { outcome: 'Drained' }, error: undefined });
    expect(running.answer).not.toHaveProperty('drain');
    expect(world.status).not.toHaveProperty('blockers');
  });

  it('evicts nothing where no pod could go, and says so', async () => {
    world.pod('web-0');
    world.seen({ ...nodeNow('11', {}), name: 'n-2', uid: 'uid-2', ready: false });
    const running = world.drain(HAND);
    await elapse(SECOND);
    const drain = { outcome: 'NothingEvicted', message: expect.stringContaining('no other node is Ready') };
    expect(running.answer).toEqual({ outcome: 'Drained', drain });
    expect(world.requests).toEqual([]);
    expect(world.status.inHand?.drain).toEqual(drain);
  });

  it('holds back no pod for those that cannot go, and asks no more than 20 at once', async () => {
    for (let index = 0; index < 60; index += 1) world.pod(`held-${index}`, { budget: 'pg' });
    world.pod('free');
    world.drain(HAND);
    await elapse(5 * SECOND);
    expect(world.names).not.toContain('free');
    expect(world.names).toHaveLength(60);
    expect(world.mostAtOnce).toBe(20);
  });

  it('of pods that are held lists 20 and their number, once a second at most', async () => {
    for (let index = 0; index < 60; index += 1) world.pod(`held-${index}`, { budget: 'pg' });
    world.drain(HAND);
    await elapse(30 * SECOND);
    expect(world.status.blockers).toHaveLength(20);
    expect(world.status.blockedPods).toBe(60);
    expect(world.status.message).toMatch(
      /^pod db\/held-\d+ is held by PodDisruptionBudget pg, .*; 59 more, see status\.blockers; asking again$/,
    );
    const times = world.writes.map(({ atMs }) => atMs);
    expect(Math.min(...times.slice(2).map((atMs, index) => atMs - (times[index + 1] ?? 0)))).toBeGreaterThanOrEqual(
      SECOND,
    );
    // They were all there after the first refusals: what is the same is not written again.
    expect(times.length).toBeLessThan(6);
  });

  it('keeps the time since when a pod is held over its attempts', async () => {
    const since = '2026-03-01T09:30:00Z';
    const blockers = [{ pod: 'db/pg-0', reason: 'Budget', message: 'held', since } as const];
    const inHand = { startedAt: HAND.startedAt } as NonNullable<KairosNodeStatus['inHand']>;
    world.status = { step: 'Drain', inHand, blockers };
    world.pod('pg-0', { budget: 'pg' });
    world.drain(HAND);
    await elapse(SECOND);
    expect(world.status.blockers).toMatchObject([{ pod: 'db/pg-0', since }]);
  });

  it('takes its blockers back when it is cancelled', async () => {
    world.pod('pg-0', { budget: 'pg' });
    const running = world.drain(HAND);
    await elapse(2 * SECOND);
    expect(shown()).toEqual(['db/pg-0 Budget']);
    running.cancel();
    await elapse(SECOND);
    expect(running.error).toMatchObject({ message: 'cancelled' });
    expect(world.status).not.toHaveProperty('blockers');
    expect(world.status).not.toHaveProperty('blockedPods');
  });

  it('says of a pod that does not go what may keep it, and waits no longer than it must', async () => {
    world.pod('stuck', { graceSeconds: 10, stuck: true });
    const running = world.drain(handWith({ skipWaitForDeleteMs: 30 * SECOND }));
    await elapse(19 * SECOND);
    expect(shown()).toBeUndefined();
    await elapse(3 * SECOND);
    expect(shown()).toEqual(['db/stuck Terminating']);
    await elapse(20 * SECOND);
    expect(running.answer).toEqual({ outcome: 'Drained' });
  });

  it('evicts a pod that was to end by itself when its time is over', async () => {
    world.pod('report', { ownerKind: 'Job' });
    world.pod('web-0');
    const running = world.drain(handWith({ completion: { timeoutMs: MINUTE } }));
    await elapse(59 * SECOND);
    expect(world.requests).toEqual(['evict web-0']);
    expect(shown()).toEqual(['db/report Completing']);
    await elapse(5 * SECOND);
    expect(world.requests).toEqual(['evict web-0', 'evict report']);
    expect(running.answer).toEqual({ outcome: 'Drained' });
  });
});

describe('a node that is not ours any more', () => {
  it.each([
    [
      'uncordoned',
      { unschedulable: false },
      /^somebody uncordoned node n-1 during its upgrade.*; its image was not touched$/,
    ],
    ['freed', { owner: 'held:Failed' }, /^node n-1 carries the mark held:Failed in place of /],
  ])('by somebody who %s it ends the drain at once', async (_, change, message) => {
    world.pod('pg-0', { budget: 'pg' });
    const running = world.drain(HAND);
    await elapse(2 * SECOND);
    // A watch that lags shows what was before our own cordon.
    world.seen(nodeNow('9', change));
    await elapse(2 * SECOND);
    expect(running.answer).toBeUndefined();
    world.seen(nodeNow('11', change));
    await elapse(SECOND);
    expect(running.answer).toMatchObject({ outcome: 'Failed', message: expect.stringMatching(message) });
  });

  it('is seen before the first eviction, where the watch is late', async () => {
    world.pod('web-0', { budget: 'pg' });
    world.live = nodeNow('12', { unschedulable: false });
    const running = world.drain(HAND);
    await elapse(SECOND);
    expect(running.answer).toMatchObject({ outcome: 'Failed', message: expect.stringContaining('uncordoned') });
  });

  it('is seen by the watch alone, where it is known which version carries our cordon', async () => {
    world.pod('pg-0', { budget: 'pg' });
    world.live = nodeNow('12', { unschedulable: false });
    world.seen(nodeNow('9', { unschedulable: false }));
    const running = world.drain({ ...HAND, cordonedVersion: '10' });
    await elapse(2 * SECOND);
    expect(running.answer).toBeUndefined();
    world.seen(nodeNow('10', {}));
    await elapse(2 * SECOND);
    expect(running.answer).toBeUndefined();
    world.seen(nodeNow('12', { unschedulable: false }));
    await elapse(SECOND);
    expect(running.answer).toMatchObject({ outcome: 'Failed', message: expect.stringContaining('uncordoned') });
  });

  it('ends it as BootChanged when it reboots, however long a pod is held', async () => {
    world.pod('pg-0', { budget: 'pg' });
    const running = world.drain(HAND);
    await elapse(2 * SECOND);
    world.seen(nodeNow('11', { bootID: 'boot-2', unschedulable: false }));
    await elapse(SECOND);
    expect(running.answer).toEqual({ outcome: 'BootChanged' });
  });
});

describe('the deadline of a drain', () => {
  it('counts from its first attempt, and names what holds it', async () => {
    world.pod('pg-0', { budget: 'pg' });
    const running = world.drain(HAND, { agoMs: 14 * MINUTE });
    await elapse(59 * SECOND);
    expect(running.answer).toBeUndefined();
    await elapse(2 * SECOND);
    expect(running.answer).toEqual({
      outcome: 'Failed',
      message: expect.stringMatching(
        /^drain did not end within 15m00s: pod db\/pg-0 is held by PodDisruptionBudget pg, /,
      ),
    });
    expect(world.names).toEqual(['pg-0']);
  });

  it('deletes what is held, and lets it take its grace period', async () => {
    world.pod('pg-0', { budget: 'pg', graceSeconds: 40 });
    const running = world.drain(handWith({ onTimeout: 'Delete' }, MINUTE));
    await elapse(62 * SECOND);
    expect(world.requests.filter((request) => request.startsWith('delete'))).toEqual(['delete pg-0']);
    const drain = {
      outcome: 'PodsDeleted',
      message: 'deleted past their budgets, as the drain did not end within 1m00s: db/pg-0 (PodDisruptionBudget pg)',
    };
    expect(world.status.inHand?.drain).toEqual(drain);
    await elapse(40 * SECOND);
    expect(running.answer).toEqual({ outcome: 'Drained', drain });
  });

  it('of an attempt that was cut off after it had deleted leaves the pods their time', async () => {
    world.pod('pg-0', { budget: 'pg', graceSeconds: 40 });
    const hand = handWith({ onTimeout: 'Delete' }, MINUTE);
    const first = world.drain(hand);
    await elapse(62 * SECOND);
    first.cancel();
    await elapse(SECOND);
    const second = world.drain(hand, { agoMs: 63 * SECOND });
    await elapse(20 * SECOND);
    expect(second.answer).toBeUndefined();
    await elapse(21 * SECOND);
    expect(second.answer).toMatchObject({ outcome: 'Drained', drain: { outcome: 'PodsDeleted' } });
    expect(world.requests.filter((request) => request.startsWith('delete'))).toEqual(['delete pg-0']);
  });

  it('gives the node back where a deleted pod stays as long again, and tells both', async () => {
    world.pod('pg-0', { budget: 'pg', graceSeconds: 5, stuck: true });
    const running = world.drain(handWith({ onTimeout: 'Delete' }, MINUTE));
    await elapse(122 * SECOND);
    expect(running.answer).toMatchObject({
      outcome: 'Failed',
      message: expect.stringMatching(
        /^drain did not end within 1m00s: pod db\/pg-0 is still there, .*, nor as long again after the deletion$/,
      ),
      drain: { outcome: 'PodsDeleted' },
    });
  });

  it('kills only where that is asked for, after its time', async () => {
    world.pod('pg-0', { budget: 'pg', graceSeconds: 3600 });
    const running = world.drain(handWith({ onTimeout: 'Delete', forceDeleteAfterMs: 20 * SECOND }, MINUTE));
    await elapse(79 * SECOND);
    expect(world.requests.at(-1)).toBe('delete pg-0');
    await elapse(2 * SECOND);
    expect(world.requests.at(-1)).toBe('delete pg-0 0');
    expect(running.answer).toMatchObject({
      outcome: 'Drained',
      drain: { message: expect.stringMatching(/; killed without a grace period: db\/pg-0$/) },
    });
  });

  it.each([
    ['ends the node at once', {}, 'Failed', 'held by more than one PodDisruptionBudget'],
    ['is gone past', { onTimeout: 'Delete' } as const, 'Drained', undefined],
  ])('and a pod of several budgets: it %s', async (_, drain, outcome, message) => {
    world.pod('pg-0', { budget: 'several' });
    const running = world.drain(handWith(drain, MINUTE));
    await elapse(message === undefined ? 65 * SECOND : SECOND);
    expect(running.answer).toMatchObject({
      outcome,
      ...(message === undefined ? {} : { message: expect.stringContaining(message) }),
    });
  });
});

describe('the volumes of a drain', () => {
  const wait = handWith({ volumeDetachMs: MINUTE });

  beforeEach(() => {
    world.volumeOf['data'] = 'pv-1';
    world.volumeOf['logs'] = 'pv-2';
    world.attachments.set('csi-1', 'pv-1').set('csi-2', 'pv-2').set('csi-3', 'pv-3');
    world.pod('pg-0', { claims: ['data', 'logs'] });
    world.pod('collector', { ownerKind: 'DaemonSet', claims: ['logs'] });
  });

  it('are waited for, but for those that a pod which stays uses, and those of nobody', async () => {
    const running = world.drain(wait);
    await elapse(10 * SECOND);
    expect(shown()).toEqual(['db/data VolumeAttached']);
    world.detach('csi-1');
    await elapse(2 * SECOND);
    expect(running.answer).toEqual({ outcome: 'Drained' });
  });

  it('are not waited for where that is switched off', async () => {
    const running = world.drain(handWith({ volumeDetachMs: 0 }));
    await elapse(5 * SECOND);
    expect(running.answer).toEqual({ outcome: 'Drained' });
  });

  it('are known to the next attempt, when their pods are gone', async () => {
    const first = world.drain(wait);
    await elapse(20 * SECOND);
    first.cancel();
    await elapse(SECOND);
    expect(world.names).toEqual(['collector']);
    const second = world.drain(wait, { agoMs: 21 * SECOND, remembers: world.memory.at(-1) });
    await elapse(10 * SECOND);
    expect(shown()).toEqual(['db/data VolumeAttached']);
    // Its deadline, too, counts from the first attempt.
    await elapse(35 * SECOND);
    expect(second.answer).toMatchObject({
      outcome: 'Failed',
      message: expect.stringContaining('not detached within 1m00s'),
    });
  });

  it('do not stop a node that is to be upgraded all the same, which says so', async () => {
    const running = world.drain(handWith({ volumeDetachMs: MINUTE, onTimeout: 'Delete' }));
    await elapse(70 * SECOND);
    expect(running.answer).toMatchObject({
      outcome: 'Drained',
      drain: { outcome: 'VolumesAttached', message: expect.stringContaining('claim db/data is bound to pv-1') },
    });
    expect(evicted('collector')).toBe(0);
  });
});
