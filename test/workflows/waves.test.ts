import { Context } from '@temporalio/activity';
import { describe, expect, it, jest } from '@jest/globals';
import type { NodeRef } from '../../api/messages.ts';
import type { Plan, PlannedWave } from '../../api/plan-messages.ts';
import { startDriver, type DriverOptions } from './driver/driver.ts';
import { nodes, waveID, type Wanted } from './driver/inputs.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(60_000);

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const wave = (name: string, members: NodeRef[], more: Partial<PlannedWave> = {}): PlannedWave => ({
  name,
  group: name === 'control-plane' ? 'control-plane' : 'worker',
  nodes: members,
  budget: 1,
  ...more,
});

const planOf = (waves: PlannedWave[], more: Partial<Plan> = {}): Plan => ({
  controlPlane: [],
  workers: waves.flatMap((one) => one.nodes),
  leftAlone: [],
  maxUnavailable: 1,
  waves,
  ...more,
});

/** A rollout of this plan in which these nodes fall back. */
async function rolloutOf(plan: Plan, fallen: string[], more: DriverOptions['answers'] = {}, wanted: Wanted = {}) {
  const world = await startDriver({
    answers: {
      planRollout: () => plan,
      verifyNode: ({ node }) => ({
        verdict: fallen.includes(node.name) ? 'RolledBack' : 'Succeeded',
        message: fallen.includes(node.name) ? 'fell back' : 'runs v2',
        bootID: 'boot-2',
      }),
      ...more,
    },
  });
  return { world, rollout: world.rollout(wanted) };
}

describe('the failure budget', () => {
  const [a, b] = [nodes(3, 'a'), nodes(4, 'b')];

  it('of none stops at the first failure: the waves behind are not begun', async () => {
    const plan = planOf([wave('canary', a.slice(0, 1), { maxFailed: 0 }), wave('workers', b, { maxFailed: 0 })]);
    const { world, rollout } = await rolloutOf(plan, ['a-1']);
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message: 'stopped: node a-1 ended as RolledBack: fell back; 4 nodes were not touched',
      verdicts: { RolledBack: 1 },
    });
    expect(world.script.nodes('markNode')).toEqual(['a-1']);
  });

  it('counts over all waves, and the end names the nodes and the budget', async () => {
    const plan = planOf([wave('first', a), wave('workers', b)], { maxFailed: 2 });
    const { world, rollout } = await rolloutOf(plan, ['a-1', 'a-3', 'b-2', 'b-3']);
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message:
        'stopped: 3 nodes have failed, and the failure budget of the rollout (maxFailed) allows 2; the last: node b-2 ended as RolledBack: fell back; failed: a-1 (RolledBack), a-3 (RolledBack), b-2 (RolledBack); 2 nodes were not touched',
      verdicts: { RolledBack: 3, Succeeded: 2 },
    });
    expect(world.script.nodes('markNode')).toEqual(['a-1', 'a-2', 'a-3', 'b-1', 'b-2']);
  });

  it('of a wave counts that wave only, and beside it that of the rollout', async () => {
    const own = planOf([wave('first', a, { maxFailed: 1 }), wave('workers', b, { maxFailed: 1 })]);
    expect(await (await rolloutOf(own, ['a-1', 'b-1'])).rollout.result()).toMatchObject({
      phase: 'Failed',
      message: '2 of 7 nodes did not reach the target: a-1 (RolledBack), b-1 (RolledBack)',
    });
    const both = planOf([wave('first', a, { maxFailed: 1 }), wave('workers', b, { maxFailed: 3 })], { maxFailed: 1 });
    expect(await (await rolloutOf(both, ['a-1', 'b-1'])).rollout.result()).toMatchObject({
      message: expect.stringContaining(
        '2 nodes have failed, and the failure budget of the rollout (maxFailed) allows 1',
      ),
      verdicts: { RolledBack: 2, Succeeded: 2 },
    });
  });

  it('not exceeded lets the rollout reach its end, which is Failed and names them', async () => {
    const plan = planOf([wave('workers', b, { maxFailed: 1 })], { maxFailed: 1 });
    expect(await (await rolloutOf(plan, ['b-2'])).rollout.result()).toMatchObject({
      phase: 'Failed',
      message: '1 of 4 nodes did not reach the target: b-2 (RolledBack)',
      verdicts: { RolledBack: 1, Succeeded: 3 },
    });
  });

  it('exceeded lets nodes in flight finish', async () => {
    const plan = planOf([wave('workers', b, { budget: 3, maxFailed: 0 })]);
    const { world, rollout } = await rolloutOf(plan, ['b-1'], {
      rebootNode: async ({ node }) => {
        if (node.name !== 'b-1') await Context.current().sleep('20m');
        return { outcome: 'BootChanged' };
      },
    });
    expect(await rollout.result()).toMatchObject({ verdicts: { RolledBack: 1, Succeeded: 2 } });
    expect(new Set(world.script.nodes('markNode'))).toEqual(new Set(['b-1', 'b-2', 'b-3']));
  });

  it('does not count what the strategy skips, nor a node that a person took out', async () => {
    const plan = planOf([wave('workers', b, { maxFailed: 0 })], { maxFailed: 0 });
    const { rollout } = await rolloutOf(plan, [], {
      drainNode: ({ node }) => (node.name === 'b-1' ? { outcome: 'Skipped', message: 'held' } : { outcome: 'Drained' }),
      endNode: ({ hand, verdict, message }) => ({ node: hand.node.name, outcome: 'Ended', verdict, message }),
    });
    expect(await rollout.result()).toMatchObject({ verdicts: { Skipped: 1, Succeeded: 3 } });
  });

  it('is not there for the control plane', async () => {
    const plan = planOf([wave('control-plane', nodes(2, 'cp')), wave('workers', b)], { maxFailed: 5 });
    const { world, rollout } = await rolloutOf(plan, ['cp-1']);
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message: 'stopped: node cp-1 ended as RolledBack: fell back; 5 nodes were not touched',
    });
    expect(world.script.nodes('markNode')).toEqual(['cp-1']);
  });

  it('of a plan that says nothing is what stopOnFailure says', async () => {
    const { world, rollout } = await rolloutOf(planOf([wave('workers', b)]), ['b-1']);
    expect(await rollout.result()).toMatchObject({ verdicts: { RolledBack: 1 } });
    await world.close();
    const going = await startDriver({
      answers: {
        planRollout: () => planOf([wave('workers', b)]),
        verifyNode: () => ({ verdict: 'RolledBack', message: 'fell back', bootID: 'boot-2' }),
      },
    });
    const all = going.rollout({ spec: { stopOnFailure: false } });
    expect(await all.result()).toMatchObject({ verdicts: { RolledBack: 4 } });
  });
});

describe('the soak of a wave', () => {
  const waves = () => [wave('canary', nodes(2, 'a'), { soakMs: 5 * 60_000 }), wave('workers', nodes(2, 'b'))];
  const soaking = async () => {
    await Context.current().sleep('10m');
    return { open: true } as const;
  };

  it('is waited for before the next wave is begun, and is in the status', async () => {
    const { world, rollout } = await rolloutOf(planOf(waves()), [], { soakWave: soaking });
    await world.until('it soaks', () => world.script.nodes('soakWave').length === 1);
    const from = world.now;
    expect(world.script.inputs('reportRollout').at(-1)?.status).toMatchObject({
      phase: 'Running',
      wave: 'canary',
      message: `wave canary soaks, until ${new Date(from + 5 * 60_000).toISOString()} at the earliest`,
      soakUntil: new Date(from + 5 * 60_000).toISOString(),
      verdicts: { Succeeded: 2 },
      verdictsBefore: {},
    });
    expect(world.script.inputs('soakWave')).toMatchObject([
      { wave: 'canary', waveSoakMs: 300_000, nodes: [{ name: 'a-1' }, { name: 'a-2' }] },
    ]);
    await world.advance('9m');
    expect(world.script.nodes('markNode')).toEqual(['a-1', 'a-2']);
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 4 } });
    expect(world.script.inputs('soakWave')).toHaveLength(1);
    const after = world.script.inputs('reportRollout').find(({ status }) => status.wave === 'workers')?.status;
    expect(after?.verdictsBefore).toEqual({ Succeeded: 2 });
    expect(after).not.toHaveProperty('soakUntil');
  });

  it('that does not hold stops the rollout, and names the node', async () => {
    const { world, rollout } = await rolloutOf(planOf(waves()), [], {
      soakWave: () => ({ open: false, reason: 'wave canary did not soak: node a-2 is not Ready' }),
    });
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message: 'stopped: wave canary did not soak: node a-2 is not Ready; 2 nodes were not touched',
    });
    expect(world.script.nodes('markNode')).toEqual(['a-1', 'a-2']);
  });

  it('is not of nodes that failed, and is not begun where the wave stopped', async () => {
    const plan = planOf(waves(), { maxFailed: 1 });
    const { world, rollout } = await rolloutOf(plan, ['a-1']);
    await rollout.result();
    expect(world.script.inputs('soakWave')).toMatchObject([{ nodes: [{ name: 'a-2' }] }]);
    const stopped = await rolloutOf(planOf(waves(), { maxFailed: 0 }), ['a-1']);
    await stopped.rollout.result();
    expect(stopped.world.script.inputs('soakWave')).toEqual([]);
  });

  it('goes on while the rollout is paused, and no node is started after it until it is resumed', async () => {
    const { world, rollout } = await rolloutOf(planOf(waves()), [], { soakWave: soaking });
    await world.until('it soaks', () => world.script.nodes('soakWave').length === 1);
    world.signal(rollout, 'pause', { reason: 'lunch' });
    await world.advance('3 days');
    expect(world.engine.run(rollout.id).activities.size).toBe(0);
    expect(world.script.nodes('checkGates')).toHaveLength(2);
    world.signal(rollout, 'resume', {});
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
  });

  it('ends with a cancel', async () => {
    const { world, rollout } = await rolloutOf(planOf(waves()), [], { soakWave: soaking });
    await world.until('it soaks', () => world.script.nodes('soakWave').length === 1);
    world.cancel(rollout);
    await expect(rollout.result()).rejects.toThrow('Canceled');
    expect(rollout.status).toBe('Canceled');
    expect(world.script.inputs('reportRollout').at(-1)).toMatchObject({ final: true, status: { phase: 'Cancelled' } });
  });
});

describe('a rollout whose history is long', () => {
  const timing = { continueAfterEvents: 10 };
  const waves = [1, 2, 3, 4, 5].map((day) => wave(`day-${day}`, nodes(2, `d${day}`), { soakMs: DAY_MS }));
  const slowly = (wanted: Wanted, fallen: string[] = []) => {
    const plan = planOf(waves, { maxFailed: 2, leftAlone: [{ name: 'x', reason: 'NoReport' }] });
    const soakWave = async ({ waveSoakMs }: { waveSoakMs: number }) => {
      await Context.current().sleep(waveSoakMs);
      return { open: true } as const;
    };
    return rolloutOf(plan, fallen, { soakWave }, wanted);
  };

  it('goes on in other runs, for days, with a pause before and a resume after', async () => {
    const { world, rollout } = await slowly({ timing });
    await world.until('the first wave is over', () => world.script.nodes('soakWave').length === 1);
    world.signal(rollout, 'pause', { reason: 'weekend' });
    await world.advance('2 days');
    const runs = () => world.engine.runs.filter(({ id }) => id === rollout.id);
    expect(runs().map(({ status }) => status)).toEqual(['ContinuedAsNew', 'Running']);
    expect(await world.query(rollout, 'state')).toMatchObject({
      phase: 'Running',
      paused: { by: 'temporal', reason: 'weekend' },
      verdicts: { Succeeded: 2 },
    });
    expect(world.script.inputs('reportRollout').at(-1)?.status).toMatchObject({ phase: 'Paused', total: 10 });
    const begun = world.script.nodes('checkGates').length;
    await world.advance('2 days');
    expect(world.script.nodes('checkGates')).toHaveLength(begun);
    world.signal(rollout, 'resume', {});
    expect(await rollout.result()).toMatchObject({
      phase: 'Completed',
      message: '10 of 10 nodes run v2; left alone: x (NoReport)',
      verdicts: { Succeeded: 10 },
    });
    expect(runs().map(({ status }) => status)).toEqual([
      'ContinuedAsNew',
      'ContinuedAsNew',
      'ContinuedAsNew',
      'ContinuedAsNew',
      'Completed',
    ]);
    expect(world.script.inputs('planRollout')).toHaveLength(1);
    expect(world.script.nodes('endNode')).toHaveLength(10);
  });

  it('counts failures over all of its runs', async () => {
    const { rollout } = await slowly({ timing }, ['d1-1', 'd2-1', 'd4-2']);
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message: expect.stringContaining(
        'failed: d1-1 (RolledBack), d2-1 (RolledBack), d4-2 (RolledBack); 2 nodes were not touched',
      ),
      verdicts: { RolledBack: 3, Succeeded: 5 },
    });
  });

  it('is cancelled in whatever run it is', async () => {
    const { world, rollout } = await slowly({ timing });
    await world.advance('30h');
    world.cancel(rollout);
    await expect(rollout.result()).rejects.toThrow('Canceled');
    expect(rollout.status).toBe('Canceled');
    expect(world.script.inputs('reportRollout').at(-1)).toMatchObject({
      final: true,
      status: { phase: 'Cancelled', verdicts: { Succeeded: 4 } },
    });
  });

  it('knows the barrier that is between its runs', async () => {
    const plan = planOf([wave('control-plane', nodes(1, 'cp')), wave('workers', nodes(1))]);
    const { world, rollout } = await rolloutOf(plan, [], {}, { timing });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
    expect(world.script.inputs('waitForControlPlane')).toHaveLength(1);
    expect(world.engine.runs.filter(({ id }) => id === rollout.id)).toHaveLength(2);
  });

  it('stays in one run where what it would hand over is more than a message may hold', async () => {
    const leftAlone = Array.from({ length: 20_000 }, (_, index) => ({
      name: `ip-10-0-${index}.eu-central-1.compute.internal`,
      reason: 'NotKairos: its agent has found nothing to report',
    }));
    const plan = planOf([wave('first', nodes(1)), wave('second', nodes(1, 'b'))], { leftAlone });
    const { world, rollout } = await rolloutOf(plan, [], {}, { timing });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 2 } });
    expect(world.engine.runs.filter(({ id }) => id === rollout.id)).toHaveLength(1);
  });

  it('stays in one run where its history is short', async () => {
    const { world, rollout } = await slowly({});
    expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
    expect(world.engine.runs.filter(({ id }) => id === rollout.id)).toHaveLength(1);
    expect(rollout.history.length).toBeLessThan(400);
    expect(world.workflow(waveID('day-5')).status).toBe('Completed');
  });
});
