import { Context } from '@temporalio/activity';
import { describe, expect, it, jest } from '@jest/globals';
import type { WaveInput } from '../../api/messages.ts';
import type { Plan, PlannedWave } from '../../api/plan-messages.ts';
import type { RolloutSpec } from '../../api/rollout-spec.ts';
import { SEGMENT_NODES } from '../../policy/waves.ts';
import { startDriver, type DriverOptions, type UpgradeWorld } from './driver/driver.ts';
import { nodes, waveID } from './driver/inputs.ts';
import { inputOf } from './driver/run.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(60_000);

const wave = (name: string, members: PlannedWave['nodes'], more: Partial<PlannedWave> = {}): PlannedWave => ({
  name,
  group: name === 'control-plane' ? 'control-plane' : 'worker',
  nodes: members,
  budget: 1,
  ...more,
});

interface Story {
  plan: Partial<Plan> & { waves: PlannedWave[] };
  spec?: Partial<RolloutSpec>;
  /** Nodes that fall back in every try. */
  fallen?: string[];
  /** A node that drains for an hour. */
  slow?: string;
  answers?: DriverOptions['answers'];
}

async function begin({ plan, spec = {}, fallen = [], slow, answers }: Story) {
  const world = await startDriver({
    before: ({ activity, node }) =>
      activity === 'drainNode' && node === slow ? Context.current().sleep('1h') : undefined,
    answers: {
      planRollout: () => ({ controlPlane: [], workers: [], leftAlone: [], maxUnavailable: 1, ...plan }),
      verifyNode: ({ node }) => ({
        verdict: fallen.includes(node.name) ? 'RolledBack' : 'Succeeded',
        message: 'seen',
        bootID: 'boot-2',
      }),
      ...answers,
    },
  });
  const rollout = world.rollout({ spec });
  const drains = (node: string) => world.until(`${node} drains`, () => world.script.nodes('drainNode').includes(node));
  return { world, rollout, drains, ask: (what: string, node?: string) => world.update(rollout, what, { node }) };
}

const inputOfWave = (world: UpgradeWorld, name: string) => inputOf(world.engine.run(waveID(name))) as WaveInput;
const lastStatus = (world: UpgradeWorld) => world.script.inputs('reportRollout').at(-1)?.status;

describe('nodes that are tried again', () => {
  it('are those of the control plane first, by themselves and by its rules, then the workers', async () => {
    const waves = [wave('control-plane', nodes(2, 'cp')), wave('workers', nodes(3), { budget: 3 })];
    const { world, rollout, drains, ask } = await begin({ plan: { waves }, slow: 'w-3' });
    await drains('cp-1');
    await ask('skip', 'cp-2,w-1');
    await drains('w-3');
    await ask('retry', 'w-1');
    await ask('retry', 'cp-2');
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 5 } });
    expect(world.script.ends().slice(-2)).toEqual(['cp-2 Succeeded', 'w-1 Succeeded']);
    expect(inputOfWave(world, 'retry.1')).toMatchObject({ place: { group: 'control-plane', budget: 1 } });
    expect(inputOfWave(world, 'retry.2')).toMatchObject({ place: { group: 'worker', budget: 3 } });
  });

  it('may fail once more within the budget of their wave: the waves behind are begun as without the retry', async () => {
    const waves = [wave('first', nodes(3, 'a'), { maxFailed: 2 }), wave('workers', nodes(2), { maxFailed: 0 })];
    const { rollout, drains, ask } = await begin({ plan: { waves }, fallen: ['a-1', 'a-2'], slow: 'a-3' });
    await drains('a-3');
    await ask('retry');
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message: '2 of 5 nodes did not reach the target: a-1 (RolledBack), a-2 (RolledBack)',
      verdicts: { RolledBack: 2, Succeeded: 3 },
    });
  });

  it('may not fail where they had not: the first failure stops the rollout, as anywhere', async () => {
    const waves = [wave('first', nodes(2, 'a'), { maxFailed: 0 }), wave('workers', nodes(2), { maxFailed: 0 })];
    const { rollout, drains, ask } = await begin({ plan: { waves }, fallen: ['a-2'], slow: 'a-1' });
    await drains('a-1');
    await ask('skip', 'a-2');
    await ask('retry', 'a-2');
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message: 'stopped: node a-2 ended as RolledBack: seen; 2 nodes were not touched',
    });
  });

  it('and that the strategy had skipped take nothing from the failures that were counted', async () => {
    const waves = [wave('first', nodes(2, 'a')), wave('workers', nodes(4))];
    const { rollout, drains, ask, world } = await begin({
      plan: { waves, maxFailed: 1 },
      fallen: ['w-2', 'w-3'],
      slow: 'w-1',
      answers: {
        drainNode: ({ node, request }) =>
          node.name.startsWith('a') && request.try === undefined
            ? { outcome: 'Skipped', message: 'held' }
            : { outcome: 'Drained' },
      },
    });
    await drains('w-1');
    await ask('retry');
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message: expect.stringContaining(
        '2 nodes have failed, and the failure budget of the rollout (maxFailed) allows 1',
      ),
    });
    expect(world.script.nodes('markNode')).not.toContain('w-4');
  });

  it('and that a person had left out are left out where they are not tried again after all', async () => {
    const { rollout, drains, ask, world } = await begin({ plan: { waves: [wave('workers', nodes(3))] }, slow: 'w-1' });
    await drains('w-1');
    await ask('skip', 'w-2');
    await ask('retry', 'w-2');
    expect(await ask('skip', 'w-2')).toBe('node w-2 is not tried again');
    expect(await ask('skip', 'w-2')).toContain('node w-2 is left out already');
    expect(await rollout.result()).toMatchObject({
      phase: 'Completed',
      message: '2 of 3 nodes run v2; left out: w-2',
      verdicts: { Skipped: 1, Succeeded: 2 },
    });
    expect(lastStatus(world)).toMatchObject({ failed: [], skipped: [{ name: 'w-2' }] });
  });

  it('and were left out stay that where their wave stops before it comes to them', async () => {
    const { rollout, drains, ask, world } = await begin({
      plan: { waves: [wave('workers', nodes(3))] },
      fallen: ['w-1'],
      slow: 'w-3',
      spec: { prePullAhead: 1 },
    });
    await ask('skip', 'w-1,w-2');
    await drains('w-3');
    await ask('retry', 'w-1');
    await ask('retry', 'w-2');
    expect(await rollout.result()).toMatchObject({
      phase: 'Failed',
      message: 'stopped: node w-1 ended as RolledBack: seen; left out: w-2',
      verdicts: { Succeeded: 1, RolledBack: 1, Skipped: 1 },
    });
    expect(lastStatus(world)).toMatchObject({ failed: [{ name: 'w-1' }], skipped: [{ name: 'w-2' }] });
  });

  it('are what they were where a cancel comes before their wave starts', async () => {
    const { rollout, drains, ask, world } = await begin({
      plan: { waves: [wave('workers', nodes(3), { maxFailed: 1 })] },
      fallen: ['w-1'],
      slow: 'w-3',
      answers: {
        reportRollout: async ({ status }) => {
          if (status.wave === 'retry.1') await Context.current().sleep('5s');
        },
      },
    });
    await drains('w-3');
    await ask('retry', 'w-1');
    await world.until('their wave is to start', () => lastStatus(world)?.wave === 'retry.1');
    world.cancel(rollout);
    await expect(rollout.result()).rejects.toThrow('Canceled');
    expect(lastStatus(world)).toMatchObject({
      phase: 'Cancelled',
      failed: [{ name: 'w-1', verdict: 'RolledBack' }],
      verdicts: { RolledBack: 1, Succeeded: 2 },
    });
  });

  it('go on in parts where they are very many', async () => {
    const members = nodes(SEGMENT_NODES + 1);
    const { world, rollout } = await begin({
      plan: { waves: [wave('workers', nodes(1))] },
      answers: { prePullImage: () => ({ gone: true, message: 'not there any more' }) },
    });
    world.signal(rollout, 'pause', {});
    await world.settle();
    const retries = members.map((node) => ({ node, group: 'worker' as const, budget: 3 }));
    const input = inputOf(world.engine.run(rollout.id)) as Record<string, unknown>;
    world.cancel(rollout);
    await rollout.result().catch(() => undefined);
    const again = world.start('rollout', `${rollout.id}-again`, { ...input, control: { ...NOTHING, retries } });
    await again.result();
    const parts = world.engine.runs.filter(({ id }) => id.includes('retry.1')).map(({ id }) => id.split('/').at(-1));
    expect(parts).toEqual(['retry.1', 'retry.1.part-2']);
  });
});

const NOTHING = {
  approvals: [],
  skips: {},
  skipped: [],
  retries: [],
  tries: 0,
  ended: {},
  waves: {},
  answered: {},
  requests: [],
};

describe('what is said of a node that failed', () => {
  it('is cut to what the resource takes: the whole status would be refused for it', async () => {
    const { rollout, world } = await begin({
      plan: { waves: [wave('workers', nodes(1))] },
      answers: { verifyNode: () => ({ verdict: 'Lost', message: 'x'.repeat(5_000), bootID: 'b' }) },
    });
    expect(await rollout.result()).toMatchObject({ phase: 'Failed' });
    expect(lastStatus(world)?.failed?.[0]?.message?.length).toBe(900);
  });
});
