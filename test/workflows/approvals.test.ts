import { describe, expect, it, jest } from '@jest/globals';
import type { UpgradeWorld } from './driver/driver.ts';
import { ONE, TWO, CANARY, begin, calledFor, lastStatus, refused } from './control-rig.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(60_000);

describe('a wave that needs approval', () => {
  const untilItWaits = (world: UpgradeWorld) =>
    world.until('it waits', () => lastStatus(world)?.approval?.wave === 'rest');

  it('waits for days, says what to type, and starts when it is approved; that is noted', async () => {
    const { world, rollout } = await begin({ plan: CANARY });
    await world.advance('40 days');
    expect(rollout.status).toBe('Running');
    expect(lastStatus(world)).toMatchObject({
      phase: 'Running',
      approval: { wave: 'rest', since: expect.any(String) },
      message: expect.stringContaining('nodeopupgrade request --overwrite kairos.io/approve="rest"'),
    });
    expect(calledFor(world, 'checkGates', TWO)()).toBe(false);
    expect(await world.update(rollout, 'approve', { wave: 'rest', who: 'ana', reason: 'dashboards are green' })).toBe(
      'wave rest is approved',
    );
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
    expect(lastStatus(world)?.approvals).toEqual([
      { wave: 'rest', by: 'temporal', who: 'ana', reason: 'dashboards are green', at: expect.any(String) },
    ]);
    expect(lastStatus(world)?.approval).toBeUndefined();
  });

  it('may be approved ahead of its turn, also while it is planned', async () => {
    const { world, rollout } = await begin({ plan: CANARY });
    const answer = world.update(rollout, 'approve', { wave: 'rest' });
    expect(await answer).toBe('wave rest is approved: it does not wait when its turn comes');
    expect(await world.update(rollout, 'approve', { wave: 'rest' })).toContain('is approved since');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
    expect(lastStatus(world)?.approvals).toHaveLength(1);
  });

  it('is approved by a signal, too, and not by one that names another wave', async () => {
    const { world, rollout } = await begin({ plan: CANARY });
    await untilItWaits(world);
    world.signal(rollout, 'approve', { wave: 'best' });
    await world.advance('1 day');
    expect(rollout.status).toBe('Running');
    world.signal(rollout, 'approve', { wave: 'rest' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
    expect(lastStatus(world)?.requests?.map(({ what, accepted }) => [what, accepted])).toEqual([
      ['approve best', false],
      ['approve rest', true],
    ]);
  });

  it.each([
    [{ wave: 'best' }, 'there is no wave best: approval is needed by rest'],
    [{ wave: 'canary' }, 'wave canary needs no approval, it starts in its turn: approval is needed by rest'],
    [{}, 'name the wave, as in {"wave": "rest"}: approval is needed by rest'],
    [{ wave: 7 }, 'name the wave, as in {"wave": "rest"}: approval is needed by rest'],
    ['rest', 'name the wave, as in {"wave": "rest"}: approval is needed by rest'],
  ])('is not approved by %j', async (message, words) => {
    const { world, rollout } = await begin({ plan: CANARY });
    await untilItWaits(world);
    expect(await refused(world.update(rollout, 'approve', message))).toBe(words);
    world.cancel(rollout);
    await expect(rollout.result()).rejects.toThrow('Canceled');
  });

  it('can be paused, cancelled and aborted while it waits', async () => {
    const { world, rollout } = await begin({ plan: CANARY });
    await untilItWaits(world);
    await world.update(rollout, 'pause', { reason: 'lunch' });
    expect(lastStatus(world)).toMatchObject({ phase: 'Paused', message: expect.stringContaining('lunch') });
    await world.update(rollout, 'resume', {});
    expect(lastStatus(world)).toMatchObject({ phase: 'Running', message: expect.stringContaining('approves it') });
    await world.update(rollout, 'abort', { reason: 'not on a Friday', who: 'ana' });
    expect(await rollout.result()).toMatchObject({
      phase: 'Cancelled',
      message: expect.stringContaining('aborted by temporal (ana): not on a Friday'),
    });
    expect(lastStatus(world)?.endedBy).toMatchObject({ by: 'temporal', who: 'ana', reason: 'not on a Friday' });
  });

  it('comes after nodes that are to be tried again', async () => {
    const { world, rollout } = await begin({ plan: CANARY, ends: { [ONE.name]: 'RolledBack' } });
    await untilItWaits(world);
    expect(await world.update(rollout, 'retry', {})).toContain(`tried again before any further wave: ${ONE.name}`);
    await world.until('the node is tried again', () => world.script.ends().length === 2);
    await world.advance('1h');
    expect(lastStatus(world)).toMatchObject({ approval: { wave: 'rest' }, verdicts: { Succeeded: 1 }, failed: [] });
    await world.update(rollout, 'approve', { wave: 'rest' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
  });
});
