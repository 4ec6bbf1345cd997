import { Context } from '@temporalio/activity';
import { describe, expect, it, jest } from '@jest/globals';
import type { JoinedNodes, Plan, PlannedWave } from '../../api/plan-messages.ts';
import type { RolloutSpec } from '../../api/rollout-spec.ts';
import { startDriver } from './driver/driver.ts';
import { nodes } from './driver/inputs.ts';
import type { Answers } from './stubs.ts';

// The first one builds the workflows.
jest.setTimeout(60_000);

const plan: Plan = {
  controlPlane: nodes(1, 'cp'),
  workers: nodes(2),
  leftAlone: [{ name: 'silent-1', reason: 'NoReport' }],
  maxUnavailable: 1,
};
const none: JoinedNodes = { controlPlane: [], workers: [] };

async function rolloutOf(answers: Answers, spec: Partial<RolloutSpec> = { newNodes: 'Upgrade' }, planned = plan) {
  const world = await startDriver({ answers: { planRollout: () => planned, ...answers } });
  const result = await world.rollout({ spec }).result();
  const reports = world.script.inputs('reportRollout').map(({ status }) => status);
  const waves = [...new Set(reports.flatMap(({ wave }) => wave ?? []))];
  return { result, world, waves, written: reports.at(-1) };
}

describe('nodes that join while a rollout runs', () => {
  it('are upgraded at its end, the control plane before the workers, until none is left', async () => {
    const looks = [
      { controlPlane: nodes(1, 'cpx'), workers: [...nodes(2), ...nodes(2, 'x')] },
      { controlPlane: [], workers: nodes(3, 'x') },
      { controlPlane: [], workers: nodes(3, 'x') },
    ];
    let look = 0;
    const { result, waves, written, world } = await rolloutOf({ findJoined: () => looks[look++] ?? none });
    expect(waves).toEqual(['control-plane', 'workers', 'joined-1-control-plane', 'joined-1', 'joined-2']);
    expect(world.script.nodes('writeImage')).toEqual(['cp-1', 'w-1', 'w-2', 'cpx-1', 'x-1', 'x-2', 'x-3']);
    expect(world.script.inputs('waitForControlPlane').length).toBe(2);
    expect(result).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 7 } });
    expect(written).toMatchObject({ total: 7 });
    expect(look).toBe(3);
  });

  it('are none where the plan has left them alone, whatever they report by then', async () => {
    const silent = { controlPlane: [], workers: [{ name: 'silent-1', uid: 'uid-silent-1' }] };
    const { waves } = await rolloutOf({ findJoined: () => silent });
    expect(waves).toEqual(['control-plane', 'workers']);
  });

  it.each([
    ['in one run', undefined],
    ['in a run for each wave', 1],
  ])('are none that were planned, where only the waves name those, %s', async (_, continueAfterEvents) => {
    const waves: PlannedWave[] = [
      { name: 'control-plane', group: 'control-plane', nodes: nodes(1, 'cp'), budget: 1 },
      { name: 'first', group: 'worker', nodes: nodes(1), budget: 1 },
      { name: 'workers', group: 'worker', nodes: nodes(2).slice(1), budget: 1 },
    ];
    const looks = [{ controlPlane: nodes(1, 'cp'), workers: [...nodes(2), ...nodes(1, 'x')] }];
    const world = await startDriver({
      answers: {
        planRollout: () => ({ ...plan, controlPlane: [], workers: [], waves }),
        findJoined: () => looks.shift() ?? none,
      },
    });
    const timing = continueAfterEvents === undefined ? {} : { continueAfterEvents };
    const rollout = world.rollout({ spec: { newNodes: 'Upgrade' }, timing });
    expect(await rollout.result()).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 4 } });
    expect(world.script.nodes('writeImage')).toEqual(['cp-1', 'w-1', 'w-2', 'x-1']);
  });

  it('are not looked for unless the strategy asks for it', async () => {
    const { world } = await rolloutOf({ findJoined: () => ({ controlPlane: [], workers: nodes(2, 'x') }) }, {});
    expect(world.script.inputs('findJoined')).toEqual([]);
  });

  it('are not touched where a node has failed', async () => {
    const { result, world } = await rolloutOf(
      {
        findJoined: () => ({ controlPlane: [], workers: nodes(2, 'x') }),
        verifyNode: ({ node }) => ({
          verdict: node.name === 'w-1' ? 'RolledBack' : 'Succeeded',
          message: 'seen',
          bootID: 'b',
        }),
      },
      { newNodes: 'Upgrade', stopOnFailure: false },
    );
    expect(result.phase).toBe('Failed');
    expect(world.script.inputs('findJoined')).toEqual([]);
  });

  it('do not keep the rollout from ending where they go on joining', async () => {
    let joined = 0;
    const { result } = await rolloutOf({
      findJoined: () => ({ controlPlane: [], workers: [{ name: `x-${(joined += 1)}`, uid: `uid-x-${joined}` }] }),
    });
    expect(result).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 23 } });
  });
});

describe('nodes that join a rollout which goes on in other runs', () => {
  const timing = { continueAfterEvents: 10 };
  const looks = (all: JoinedNodes[]) => {
    let look = 0;
    return () => all[look++] ?? none;
  };

  it('are known to all of them: the rounds are counted on, and who was left out stays so', async () => {
    const controlPlane = nodes(1, 'cpx');
    const world = await startDriver({
      before: ({ activity, node }) =>
        activity === 'drainNode' && node === 'cpx-1' ? Context.current().sleep('1h') : undefined,
      answers: {
        planRollout: () => plan,
        // Who is left out is on no target: each look finds it again.
        findJoined: looks([
          { controlPlane, workers: nodes(1, 'x') },
          { controlPlane: [], workers: nodes(2, 'x') },
          { controlPlane: [], workers: nodes(1, 'x') },
        ]),
      },
    });
    const rollout = world.rollout({ spec: { newNodes: 'Upgrade' }, timing });
    await world.until('cpx-1 drains', () => world.script.nodes('drainNode').includes('cpx-1'));
    await world.update(rollout, 'skip', { node: 'x-1' });
    const result = await rollout.result();
    const waves = [...new Set(world.script.inputs('reportRollout').flatMap(({ status }) => status.wave ?? []))];
    expect(waves).toEqual(['control-plane', 'workers', 'joined-1-control-plane', 'joined-1', 'joined-2']);
    expect(world.script.nodes('writeImage')).toEqual(['cp-1', 'w-1', 'w-2', 'cpx-1', 'x-2']);
    expect(result).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 5, Skipped: 1 } });
    expect(world.engine.runs.filter(({ id }) => id === rollout.id).length).toBeGreaterThan(2);
  });

  it('are none that were planned in waves only', async () => {
    const waves: PlannedWave[] = [{ name: 'workers', group: 'worker', nodes: nodes(2), budget: 1 }];
    const { waves: run } = await rolloutOf(
      { findJoined: () => ({ controlPlane: [], workers: nodes(2) }) },
      { newNodes: 'Upgrade' },
      { ...plan, controlPlane: [], workers: [], waves },
    );
    expect(run).toEqual(['workers']);
  });
});

describe('a worker that goes before the control plane', () => {
  const waves: PlannedWave[] = [
    { name: 'worker-canary', group: 'worker', nodes: nodes(1), budget: 1, maxFailed: 0 },
    { name: 'control-plane', group: 'control-plane', nodes: plan.controlPlane, budget: 1 },
    { name: 'workers', group: 'worker', nodes: nodes(2).slice(1), budget: 1 },
  ];

  it('is upgraded first, and the barrier stands before the others', async () => {
    const { result, world } = await rolloutOf({}, {}, { ...plan, waves });
    expect(result.phase).toBe('Completed');
    expect(world.script.nodes('writeImage')).toEqual(['w-1', 'cp-1', 'w-2']);
    const order = world.script.calls.map(({ activity, node }) => `${activity} ${node ?? ''}`.trim());
    expect(order.indexOf('waitForControlPlane')).toBeGreaterThan(order.indexOf('endNode cp-1'));
    expect(order.indexOf('waitForControlPlane')).toBeLessThan(order.indexOf('writeImage w-2'));
  });

  it('keeps the control plane as it is where it fails, though failures do not stop the rollout otherwise', async () => {
    const { result, world } = await rolloutOf(
      { verifyNode: () => ({ verdict: 'RolledBack', message: 'fell back', bootID: 'b' }) },
      { stopOnFailure: false },
      { ...plan, waves },
    );
    expect(result).toMatchObject({
      phase: 'Failed',
      message: expect.stringMatching(/^stopped: node w-1 ended as RolledBack: fell back.*; 2 nodes were not touched/),
    });
    expect(world.script.nodes('writeImage')).toEqual(['w-1']);
  });
});
