import { describe, expect, it, jest } from '@jest/globals';
import { nodes } from './driver/inputs.ts';
import { atEveryMoment, stage } from './driver/moments.ts';
import {
  ALL,
  ONE,
  TWO,
  THREE,
  FOUR,
  wave,
  planOf,
  CANARY,
  begin,
  calledFor,
  lastStatus,
  refused,
} from './control-rig.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(60_000);

describe('a rollout that is aborted', () => {
  it('gives back what it can, takes the rest to its verdict, and says by whom and why', async () => {
    const { world, rollout } = await begin({
      plan: planOf([wave('workers', ALL, { budget: 2 })]),
      slow: { writeImage: [ONE.name, '1h'], drainNode: [TWO.name, '1h'] },
    });
    await world.until(
      'both are in hand',
      () => calledFor(world, 'writeImage', ONE)() && calledFor(world, 'drainNode', TWO)(),
    );
    await world.update(rollout, 'abort', { reason: 'customers complain', by: 'kubectl' });
    expect(lastStatus(world)).toMatchObject({
      phase: 'Cancelling',
      message: expect.stringContaining('aborted by kubectl: customers complain'),
    });
    expect(await refused(world.update(rollout, 'abort', {}))).toContain('is Cancelling: there is nothing to abort');
    expect(await refused(world.update(rollout, 'skip', { node: 'w-3' }))).toContain('there is nothing to skip');
    expect(await rollout.result()).toMatchObject({
      phase: 'Cancelled',
      verdicts: { Succeeded: 1, Cancelled: 1 },
      message: expect.stringMatching(/^aborted by kubectl: customers complain; /),
    });
    expect(world.script.ends().sort()).toEqual(['w-1 Succeeded', 'w-2 Cancelled']);
    expect(world.script.steps(THREE.name)).toEqual([]);
  });

  it('at any moment ends as Cancelled, or as it had ended, with nothing left cordoned', async () => {
    await atEveryMoment(
      (world) => world.rollout(),
      async ({ world, workflow, model }) => {
        world.signal(workflow, 'abort', { reason: 'enough' });
        const result = await workflow.result();
        await world.advance('1m');
        expect(model.problems).toEqual([]);
        expect(model.out()).toEqual([]);
        const last = world.script.inputs('reportRollout').at(-1);
        expect(last).toMatchObject({ final: true, status: { phase: (result as { phase: string }).phase } });
        expect(['Cancelled', 'Completed']).toContain((result as { phase: string }).phase);
      },
      () => stage({ workers: nodes(2) }),
    );
  });
});

describe('who asked', () => {
  it('for a pause, and for its end, is shown while it lasts and in what was asked', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1h'] } });
    await world.until('the first drains', calledFor(world, 'drainNode', ONE));
    await world.update(rollout, 'pause', { reason: 'lunch', who: 'ana' });
    expect(lastStatus(world)).toMatchObject({
      paused: { by: 'temporal', who: 'ana', reason: 'lunch' },
      message: expect.stringMatching(/^paused by temporal \(ana\): lunch; /),
    });
    world.signal(rollout, 'pause', { reason: 'lunch', who: 'ana' });
    await world.update(rollout, 'resume', { who: 'ben' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
    expect(lastStatus(world)?.requests).toMatchObject([
      { what: 'pause', by: 'temporal', who: 'ana', reason: 'lunch', accepted: true },
      { what: 'resume', by: 'temporal', who: 'ben', accepted: true },
    ]);
    expect(lastStatus(world)).not.toHaveProperty('endedBy');
  });

  it('to end it is kept, with the reason, of a cancel that the watcher explains', async () => {
    const { world, rollout } = await begin({ slow: { writeImage: [ONE.name, '1h'] } });
    await world.until('it is written', calledFor(world, 'writeImage', ONE));
    const why = { by: 'kubectl', who: 'argocd-controller', reason: 'its NodeOpUpgrade was edited' };
    world.signal(rollout, 'whyCancelled', why);
    world.cancel(rollout);
    await world.advance('1m');
    const said = 'cancelled by kubectl (argocd-controller): its NodeOpUpgrade was edited; ';
    expect(lastStatus(world)).toMatchObject({ phase: 'Cancelling', message: expect.stringContaining(said) });
    await expect(rollout.result()).rejects.toThrow('Canceled');
    expect(lastStatus(world)).toMatchObject({
      phase: 'Cancelled',
      message: `${said}nodes that were not touched stay as they are`,
      endedBy: { ...why, at: expect.any(String) },
    });
  });

  it('to end it is Temporal, of a cancel that nobody explains', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1h'] } });
    await world.until('it drains', calledFor(world, 'drainNode', ONE));
    world.cancel(rollout);
    await expect(rollout.result()).rejects.toThrow('Canceled');
    expect(lastStatus(world)).toMatchObject({ endedBy: { by: 'temporal', at: expect.any(String) } });
    expect(lastStatus(world)?.message).toBe('cancelled: nodes that were not touched stay as they are');
  });
});

describe('a pause', () => {
  it('takes back a node that is marked and not cordoned, and starts it again after it', async () => {
    const { world, rollout } = await begin({ slow: { markNode: [ONE.name, '1m'] } });
    await world.until('it is marked', calledFor(world, 'markNode', ONE));
    world.signal(rollout, 'pause', {});
    await world.advance('1 day');
    expect(world.script.steps(ONE.name)).toEqual(['checkGates', 'markNode', 'endNode']);
    expect(world.script.inputs('endNode')[0]).toMatchObject({ unrecorded: true });
    expect(calledFor(world, 'checkGates', TWO)()).toBe(false);
    world.signal(rollout, 'resume', {});
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
    expect(world.script.steps(ONE.name).filter((step) => step === 'cordonNode')).toHaveLength(1);
  });

  it('takes back a node whose gates are being asked', async () => {
    const { world, rollout } = await begin({ slow: { checkGates: [ONE.name, '3s'] } });
    await world.until('its gates are asked', calledFor(world, 'checkGates', ONE));
    world.signal(rollout, 'pause', {});
    await world.advance('1 day');
    expect(world.script.steps(ONE.name)).not.toContain('cordonNode');
    world.signal(rollout, 'resume', {});
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 3 } });
  });

  it('never holds a node that is cordoned', async () => {
    const { world, rollout } = await begin({ slow: { drainNode: [ONE.name, '1m'] } });
    await world.until('it drains', calledFor(world, 'drainNode', ONE));
    world.signal(rollout, 'pause', {});
    await world.advance('1 day');
    expect(world.script.ends()).toEqual(['w-1 Succeeded']);
    world.signal(rollout, 'resume', {});
    await rollout.result();
  });
});

describe('a rollout that continues an earlier run', () => {
  it('keeps its pause, its approvals, who is left out, who is tried again, and what was answered', async () => {
    const asked = { by: 'kubectl' as const, at: '2026-11-26T02:00:00Z' };
    const { world, rollout } = await begin({
      plan: CANARY,
      control: {
        paused: { by: 'kubectl', reason: 'lunch', since: '2026-11-26T02:00:00Z' },
        approvals: [{ wave: 'rest', ...asked }],
        skips: { 'w-2': asked },
        skipped: [{ name: 'w-4', ...asked }],
        retries: [],
        tries: 3,
        ended: { 'w-4': { node: FOUR, group: 'worker', budget: 1 } },
        waves: {},
        answered: { 'update-1': { accepted: true, message: 'said before' } },
        requests: [],
      },
    });
    await world.advance('1 day');
    expect(lastStatus(world)).toMatchObject({ phase: 'Paused', paused: { reason: 'lunch' } });
    expect(await world.update(rollout, 'approve', { wave: 'nonsense' })).toBe('said before');
    expect(await world.update(rollout, 'retry', { node: 'w-4' })).toBe(
      'node w-4 is tried again before any further wave',
    );
    await world.update(rollout, 'resume', { by: 'kubectl' });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Skipped: 1, Succeeded: 3 } });
    expect(world.script.inputs('checkGates').find(({ node }) => node.name === 'w-4')?.request).toMatchObject({
      try: 4,
    });
  });
});
